"""Every certificate and every TLS parameter with which a server may be met: one table, for tests and for the bench."""

from collections.abc import Callable

from appliance.domain.reason import Reason
from tests.certs import cases
from tests.certs.cases import Case
from tests.tlslab import malformed, parameters, revoked, trust
from tests.tlslab.case import Expect, Lab, LabCase, Plain

_OPTIONAL = frozenset(
    {
        "a CA as leaf", "encipherOnly", "a constrained leaf", "keyCertSign without CA",
        "serial negative", "serial zero", "serial of 21 octets",
    }
)  # fmt: skip
"""Against RFC 5280, and yet believed by curl (OpenSSL), GnuTLS or chromium."""


def _served(group: str, case: Case) -> LabCase:
    expect = Expect.SHOULD_REFUSE if case.name in _OPTIONAL else Expect.MUST_REFUSE
    return LabCase(
        group, case.name, Expect.MUST_PASS if case.want is Reason.OK else expect, case.want.word, _plain(case), case.host
    )


def _plain(case: Case) -> Callable[[Lab], Plain]:
    def serve(lab: Lab) -> Plain:
        leaf, *chain = case.make(lab.world)
        return Plain(leaf, chain)

    return serve


_GROUPS = {
    "controls": cases.CONTROLS,
    "trust": cases.TRUST,
    "time": cases.TIME,
    "names": cases.NAMES,
    "weak": cases.STRENGTH,
    "usage": cases.USAGE,
    "malformed": cases.FORM,
}
CERTIFICATES = [
    *(_served(group, case) for group, rows in _GROUPS.items() for case in rows),
    *trust.CASES, *revoked.CASES, *malformed.CASES,
]  # fmt: skip
PARAMETERS = parameters.CASES
CASES = [*CERTIFICATES, *PARAMETERS]
GROUPS = ("controls", "trust", "time", "names", "weak", "usage", "revoked", "malformed", "parameters")
