"""The letter of the SSL Labs Server Rating Guide (version 2009r), from what sslyze found.

Of the guide's caps those are left out that ask for what a TLS listener does not have (HTTP headers: A+ needs HSTS, which is the
origin's to send), or that neither tool can see from outside (keys known to others).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

type Scan = Mapping[str, Any]
"""``scan_result`` of one server in sslyze's JSON."""

LETTERS = ((80, "A"), (65, "B"), (50, "C"), (35, "D"), (20, "E"), (0, "F"))
_ORDER = ["A", "A-", "B", "C", "D", "E", "F", "M", "T"]
_PROTOCOLS = {"ssl_2_0": 0, "ssl_3_0": 80, "tls_1_0": 90, "tls_1_1": 95, "tls_1_2": 100, "tls_1_3": 100}
_EC_AS_RSA = ((512, 15360), (384, 7680), (250, 3072), (224, 2048), (160, 1024))
"""NIST SP 800-57 part 1, table 2; X25519 counts as 256 bits."""


@dataclass(frozen=True, slots=True)
class Rating:
    """``protocol``, ``key`` and ``cipher`` in per cent; ``caps``: what made the letter worse than the score's."""

    protocol: float
    key: float
    cipher: float
    letter: str
    caps: tuple[str, ...]

    @property
    def score(self) -> float:
        return 0.3 * self.protocol + 0.3 * self.key + 0.4 * self.cipher


def rate(scan: Scan) -> Rating:
    """Raises KeyError when a part of the scan is missing: a letter is not given for what nobody looked at."""
    suites = {name: _result(scan, f"{name}_cipher_suites")["accepted_cipher_suites"] for name in _PROTOCOLS}
    offered = [name for name in _PROTOCOLS if suites[name]]
    bits = [suite["cipher_suite"]["key_size"] for name in offered for suite in suites[name]]
    if not offered:
        raise KeyError("no protocol was accepted")
    protocol = _middle([_PROTOCOLS[name] for name in offered])
    key = min(_key_score(strength) for strength in _strengths(scan, suites))
    cipher = _middle([_cipher_score(each) for each in bits])
    caps = list(_caps(scan, suites, offered))
    score = 0.3 * protocol + 0.3 * key + 0.4 * cipher
    letter = next(letter for least, letter in LETTERS if score >= least)
    worst = max([letter, *(cap for cap, _ in caps)], key=_ORDER.index)
    return Rating(protocol, key, cipher, worst, tuple(f"{cap}: {why}" for cap, why in caps))


def _caps(scan: Scan, suites: Mapping[str, list[Any]], offered: list[str]) -> Iterator[tuple[str, str]]:
    for old, letter in (("ssl_2_0", "F"), ("ssl_3_0", "B"), ("tls_1_0", "B"), ("tls_1_1", "B")):
        if old in offered:
            yield letter, f"{old} is offered"
    if "tls_1_2" not in offered and "tls_1_3" not in offered:
        yield "C", "neither TLS 1.2 nor 1.3"
    if "tls_1_3" not in offered:
        yield "A-", "no TLS 1.3"
    names = [suite["cipher_suite"]["name"] for each in suites.values() for suite in each]
    yield from _suite_caps(names)
    if min(_strengths(scan, suites)) < 2048:
        yield "B", "a key below 2,048 bits"
    for part, key, letter in _FLAWS:
        if _result(scan, part)[key]:
            yield letter, key
    if not _result(scan, "session_renegotiation")["supports_secure_renegotiation"] and offered != ["tls_1_3"]:
        yield "F", "no secure renegotiation"
    if "NOT_VULNERABLE" not in _result(scan, "robot")["robot_result"]:
        yield "F", "ROBOT"
    for deployment in _result(scan, "certificate_info")["certificate_deployments"]:
        if not any(each["was_validation_successful"] for each in deployment["path_validation_results"]):
            yield "T", "no trust set believes a certificate"


_FLAWS = (
    ("heartbleed", "is_vulnerable_to_heartbleed", "F"),
    ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection", "F"),
    ("tls_compression", "supports_compression", "C"),
)


def _suite_caps(names: list[str]) -> Iterator[tuple[str, str]]:
    if any("_NULL_" in name or "_anon_" in name or "EXPORT" in name for name in names):
        yield "F", "a suite without encryption, without a certificate, or for export"
    if any("_RC4_" in name for name in names):
        yield "C", "RC4"
    if any("_3DES_" in name or "_DES_" in name or "_IDEA_" in name for name in names):
        yield "C", "a cipher with blocks of 64 bits"
    if not all(_forward_secret(name) for name in names):
        yield "B", "a suite without forward secrecy"
    if not any("_GCM_" in name or "POLY1305" in name or "_CCM" in name for name in names):
        yield "B", "no AEAD"


def _forward_secret(name: str) -> bool:
    return "_ECDHE_" in name or "_DHE_" in name or "_WITH_" not in name  # TLS 1.3 has no other


def _strengths(scan: Scan, suites: Mapping[str, list[Any]]) -> list[int]:
    """Bits, as of RSA, of the leaves' keys and of those that are agreed on."""
    deployments = _result(scan, "certificate_info")["certificate_deployments"]
    keys = [deployment["received_certificate_chain"][0]["public_key"] for deployment in deployments]
    leaves = [_as_rsa(key["key_size"]) if key["ec_curve_name"] else key["key_size"] for key in keys]
    agreed = [suite["ephemeral_key"] for each in suites.values() for suite in each if suite["ephemeral_key"]]
    return leaves + [_as_rsa(key["size"]) if key["type_name"] == "ECDH" else key["size"] for key in agreed]


def _as_rsa(bits: int) -> int:
    return next((rsa for least, rsa in _EC_AS_RSA if bits >= least), 512)


def _key_score(bits: int) -> int:
    return next(score for below, score in ((512, 20), (1024, 40), (2048, 80), (4096, 90), (1 << 30, 100)) if bits < below)


def _cipher_score(bits: int) -> int:
    return next(score for below, score in ((1, 0), (128, 20), (256, 80), (1 << 30, 100)) if bits < below)


def _middle(scores: list[int]) -> float:
    return (max(scores) + min(scores)) / 2


def _result(scan: Scan, part: str) -> Any:
    found = scan[part]["result"]
    if found is None:
        raise KeyError(f"{part}: {scan[part]['status']}")
    return found
