"""Every server of the table behind a running appliance: it passes, or it is refused and the cause is named."""

from collections.abc import Iterator

import pytest

from tests.e2e.lab import Place, appliance
from tests.tlslab.case import Expect, LabCase
from tests.tlslab.hello import parse
from tests.tlslab.revoked import AIA
from tests.tlslab.table import CASES, PARAMETERS

pytestmark = [pytest.mark.e2e, pytest.mark.security]

ASKING = {
    "revocation": {"ocsp": "soft", "crl": "soft"},
    # where the lists and responses of the table are; out of reach by default, like every address of the inside
    "fetch": {"networks": ["127.0.0.0/8"]},
}
GOOD = [AIA, *(case for case in CASES if case.expect is Expect.MUST_PASS)]
BAD = [case for case in CASES if case.expect is not Expect.MUST_PASS]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with appliance(tmp_path_factory.mktemp("origins"), [*CASES, AIA], upstream_certificates=ASKING) as made:
        yield made


@pytest.mark.parametrize("case", GOOD, ids=str)
def test_tls_01_good_servers_pass(place: Place, case: LabCase) -> None:
    shown = place.ask(case)
    assert (shown.status, shown.content) == (200, True), shown
    assert place.record(case)["server_tls"]["verify"] == "ok"


@pytest.mark.parametrize("case", BAD, ids=str)
def test_tls_01_c2_bad_servers_are_refused_and_the_cause_is_named(place: Place, case: LabCase) -> None:
    """C2: the same word on the page and in the record; nothing of the server is seen under our leaf."""
    shown = place.ask(case)
    assert not shown.content, case
    assert shown.status == 502, shown
    event = place.record(case)
    assert event["reason"] in shown.words
    assert event["reason"] == case.cause, event["server_tls"]
    if case.group == "parameters":
        assert not any(seen.finished for seen in place.lab.seen[str(case)])


def test_tls_01_what_a_server_says_cannot_fill_the_record(place: Place) -> None:
    """A subject of 64 KiB is cut before it is written down."""
    case = next(case for case in GOOD if case.name == "name of 64 KiB")
    shown = place.ask(case)
    assert shown.leaf is not None
    assert all(len(str(attribute.value)) <= 64 for attribute in shown.leaf.subject)
    events = place.arcus.events(destination_port=place.lab.port(case))
    assert all(len(event["server_tls"]["certificate"]["subject"]) < 2048 for event in events if "server_tls" in event)


def test_tls_13_what_servers_are_offered(place: Place) -> None:
    """TLS 1.2 and 1.3 with forward secrecy and AEAD only, nothing with SHA-1 or MD5, and the staple is asked for."""
    case = next(case for case in PARAMETERS if case.name == "TLS 1.2, ECDSA")
    place.ask(case)
    hello = parse(place.lab.seen[str(case)][-1].hello)
    assert hello.suites - {0x00FF} == {0x1301, 0x1302, 0x1303, 0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9}
    assert hello.versions == {0x0303, 0x0304}
    assert hello.compressions == {0}
    assert hello.signatures
    # the first octet of the old code points is the hash: 1 MD5, 2 SHA-1, 3 SHA-224
    assert not [number for number in hello.signatures if number >> 8 in (1, 2, 3)]
    assert hello.server_name == "origin.test"
    assert hello.asks_for_staple
    assert hello.secure_renegotiation
    assert hello.extended_master_secret
