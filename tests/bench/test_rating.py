"""The letter by SSL Labs' guide: what counts, what caps it, and that nothing is rated that nobody looked at. TLS-13."""

from typing import Any

import pytest

from bench.grade import Report, table
from bench.rating import rate

type Scan = dict[str, Any]


def suite(name: str, bits: int, size: int = 253, kind: str = "ECDH") -> Scan:
    return {"cipher_suite": {"name": name, "key_size": bits}, "ephemeral_key": {"type_name": kind, "size": size}}


MODERN = {
    "tls_1_2": [suite("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 128, 256)],
    "tls_1_3": [suite("TLS_AES_256_GCM_SHA384", 256)],
}
EC = {"key_size": 256, "ec_curve_name": "secp256r1"}
RSA = {"key_size": 2048, "ec_curve_name": None}


def scan(offered: dict[str, list[Scan]] | None = None, key: Scan = RSA, trusted: bool = True, **changes: Any) -> Scan:
    """Of a server that is as it should be."""
    names = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2", "tls_1_3")
    offered = MODERN if offered is None else offered
    results: Scan = {f"{name}_cipher_suites": {"accepted_cipher_suites": offered.get(name, [])} for name in names}
    deployment = {
        "received_certificate_chain": [{"public_key": key}],
        "path_validation_results": [{"was_validation_successful": False}, {"was_validation_successful": trusted}],
    }
    results |= {
        "certificate_info": {"certificate_deployments": [deployment]},
        "heartbleed": {"is_vulnerable_to_heartbleed": False},
        "openssl_ccs_injection": {"is_vulnerable_to_ccs_injection": False},
        "tls_compression": {"supports_compression": False},
        "robot": {"robot_result": "NOT_VULNERABLE_RSA_NOT_SUPPORTED"},
        "session_renegotiation": {"supports_secure_renegotiation": True},
    }
    return {name: {"status": "COMPLETED", "result": result} for name, result in (results | changes).items()}


def test_the_score_is_the_guide_s() -> None:
    found = rate(scan())
    assert (found.protocol, found.key, found.cipher, found.letter, found.caps) == (100, 90, 90, "A", ())
    assert found.score == pytest.approx(93)
    assert rate(scan(key=EC)).key == 90, "P-256 is as good as RSA with 3,072 bits"
    assert rate(scan(key=RSA | {"key_size": 4096})).key == 90, "what is agreed on counts as well"


def with_suite(name: str, **more: Any) -> dict[str, list[Scan]]:
    return {**MODERN, "tls_1_2": [*MODERN["tls_1_2"], suite(name, 128, **more)]}


@pytest.mark.parametrize(
    ("made", "letter", "why"),
    [
        (scan({**MODERN, "tls_1_0": MODERN["tls_1_2"]}), "B", "tls_1_0"),
        (scan({**MODERN, "ssl_2_0": MODERN["tls_1_2"]}), "F", "ssl_2_0"),
        (scan({"tls_1_2": MODERN["tls_1_2"]}), "A-", "no TLS 1.3"),
        (scan({"tls_1_1": MODERN["tls_1_2"]}), "C", "neither TLS 1.2 nor 1.3"),
        (scan(with_suite("TLS_RSA_WITH_AES_128_GCM_SHA256")), "B", "forward secrecy"),
        (scan(with_suite("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA")), "C", "64 bits"),
        (scan(with_suite("TLS_ECDHE_RSA_WITH_RC4_128_SHA")), "C", "RC4"),
        (scan(with_suite("TLS_DH_anon_WITH_AES_128_GCM_SHA256")), "F", "without a certificate"),
        (scan({"tls_1_2": [suite("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", 128)]}), "B", "no AEAD"),
        (scan(with_suite("TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", size=1024, kind="DH")), "B", "below 2,048"),
        (scan(key=RSA | {"key_size": 1024}), "B", "below 2,048"),
        (scan(trusted=False), "T", "no trust set"),
        (scan(heartbleed={"is_vulnerable_to_heartbleed": True}), "F", "heartbleed"),
        (scan(openssl_ccs_injection={"is_vulnerable_to_ccs_injection": True}), "F", "ccs"),
        (scan(tls_compression={"supports_compression": True}), "C", "compression"),
        (scan(robot={"robot_result": "VULNERABLE_STRONG_ORACLE"}), "F", "ROBOT"),
        (scan(session_renegotiation={"supports_secure_renegotiation": False}), "F", "renegotiation"),
    ],
)
def test_every_cap_lowers_the_letter(made: Scan, letter: str, why: str) -> None:
    found = rate(made)
    assert found.letter == letter
    assert why in " ".join(found.caps)


def test_a_low_score_needs_no_cap() -> None:
    weak = {"tls_1_3": [suite("TLS_AES_256_GCM_SHA384", 40, 400, "DH")]}
    assert rate(scan(weak)).letter == "D"


@pytest.mark.parametrize("missing", ["heartbleed", "tls_1_0_cipher_suites", "robot"])
def test_nothing_is_rated_that_nobody_looked_at(missing: str) -> None:
    made = scan()
    made[missing] = {"status": "ERROR", "result": None}
    with pytest.raises(KeyError, match=missing):
        rate(made)
    with pytest.raises(KeyError):
        rate(scan({}))


def finding(name: str, severity: str, said: str = "x") -> dict[str, str]:
    return {"id": name, "severity": severity, "finding": said}


@pytest.mark.parametrize(
    ("report", "good", "says"),
    [
        (Report(True, rate(scan()), []), True, "| letter by SSL Labs' guide (2009r) | A |"),
        (Report(False, rate(scan()), []), False, "NOT kept"),
        (Report(True, rate(scan(trusted=False)), []), False, "T; T: no trust set"),
        (Report(True, rate(scan()), [finding("TLS1", "OK"), finding("cert_trust", "HIGH")]), True, "against it | nothing |"),
        (Report(True, rate(scan()), [finding("QUIC", "WARN")]), True, "could not look at | QUIC |"),
        (Report(True, rate(scan()), [finding("TLS1", "LOW", "offered")]), False, "TLS1: offered"),
        (Report(True, rate(scan()), [finding("overall_grade", "OK", "A+")]), True, "its own letter | A+ |"),
        (Report(True, rate(scan()), [finding("overall_grade", "LOW", "B")]), False, "its own letter | B |"),
    ],
)
def test_what_the_table_says(report: Report, good: bool, says: str) -> None:
    assert report.good is good
    assert says in table(report)
