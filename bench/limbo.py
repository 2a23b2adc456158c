"""``python -m bench.limbo FILE``: how upstream verification does on C2SP's x509-limbo (``limbo.json`` of its repository).

Cases that ask for something else are left out: client certificates, names that are no host, revocation lists, a depth
of the caller's choice, and those that the suite itself marks as open to choice (``pedantic-...``, and the rules of
RFC 5280 that the web's profile contradicts). So are those that the suite answers in two ways: some cases that shall succeed
have a common name that is none of their names, which others (``webpki::cn::not-in-san``) shall be refused for. What is left is
decided: there is one right answer. docs/certificates.md says which of them come out otherwise, and why.
"""

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from appliance.domain.clock import ManualClock, SystemClock
from appliance.domain.reason import Reason
from certs.baseline import broken_by
from certs.public_roots import fingerprints
from certs.trust import TrustError, UpstreamTrust

type Case = Mapping[str, Any]

MODES: Mapping[str, Mapping[str, bool]] = {
    "as roots of one's own": {},
    "as public roots": {"public": True},
    "with upstream_trust.strict": {"strict": True},
}
"""What is measured: the suite's roots taken for such."""

_OPEN = ("pedantic-", "max-chain-depth", "rfc5280-incompatible-with-webpki", "has-policy-constraints", "has-crl")


@dataclass(frozen=True, slots=True)
class Score:
    """Cases by id, with the word that came out."""

    right: int
    wrong: Mapping[str, str]

    @property
    def text(self) -> str:
        total = self.right + len(self.wrong)
        return f"{self.right} of {total} ({100 * self.right / max(1, total):.1f} %)"


def decided(cases: Sequence[Case]) -> list[Case]:
    """Cases about a server with a name, that are not open to choice."""
    return [case for case in cases if _is_decided(case)]


def _is_decided(case: Case) -> bool:
    name = case["expected_peer_name"]
    return (
        case["validation_kind"] == "SERVER"
        and name is not None
        and name["kind"] in ("DNS", "IP")
        and not case["crls"]
        and not any(feature.startswith(_OPEN) for feature in case["features"])
        and not (case["expected_result"] == "SUCCESS" and _names_another(case["peer_certificate"]))
    )


def _names_another(pem: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return any("common name" in broken for broken in broken_by(_read(pem)))


def score(cases: Sequence[Case], *, strict: bool = False, public: bool = False) -> Score:
    wrong = {}
    for case in cases:
        word = _word(case, strict, public)
        if (word == Reason.OK.word) is not (case["expected_result"] == "SUCCESS"):
            wrong[case["id"]] = word
    return Score(len(cases) - len(wrong), wrong)


def _word(case: Case, strict: bool, public: bool) -> str:
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file, warnings.catch_warnings():
        # many are meant to be malformed
        warnings.simplefilter("ignore")
        file.write("\n".join(case["trusted_certs"]))
        file.flush()
        try:
            roots = fingerprints(Path(file.name)) if public else ()
            trust = UpstreamTrust([Path(file.name)], False, clock=_clock(case), strict=strict, public=roots)
            chain = [_read(each) for each in (case["peer_certificate"], *case["untrusted_intermediates"])]
            return trust.judge(case["expected_peer_name"]["value"], chain)[0].reason.word
        except (TrustError, ValueError) as error:
            return type(error).__name__


def _read(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _clock(case: Case) -> ManualClock:
    time = case["validation_time"]
    return ManualClock(datetime.fromisoformat(time).timestamp() if time else SystemClock().now())


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.limbo", description="Upstream verification on x509-limbo's cases.")
    parser.add_argument("file", type=Path, help="limbo.json")
    parser.add_argument("--all", action="store_true", help="also list what came out wrong")
    options = parser.parse_args()
    cases = decided(json.loads(options.file.read_text())["testcases"])
    for title, mode in MODES.items():
        found = score(cases, **mode)
        print(f"{title:<32} {found.text}")
        if options.all:
            print(*(f"  {name}: {word}" for name, word in found.wrong.items()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
