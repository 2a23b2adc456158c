"""C2: which faults pass for one client, and what is written down about them."""

from typing import Any

import pytest
from mitmproxy.connection import Server

from addons.tolerance import Tolerance
from appliance.domain.facts import HelloFacts, UserFacts
from appliance.domain.notes import TlsNotes
from appliance.domain.proceed import Warned
from appliance.domain.reason import Reason
from certs.fingerprint import certificate_sha256
from certs.verdict import Verdict
from tests.addons.flows import A, conn
from tests.addons.tls import matrices
from tests.certs import forge_origin as forge

EXPIRED, HOST = Verdict(Reason.UPSTREAM_CERT_EXPIRED, "yesterday"), Verdict(Reason.UPSTREAM_CERT_WRONG_HOST)
LEAF = forge.world().root.certificate


class Accepted:
    def __init__(self, *known: Warned) -> None:
        self.known = known

    def holds(self, warned: Warned) -> bool:
        return warned in self.known


def tolerance(accepted: Accepted | None = None, *, tls: bool = True, **config: Any) -> Tolerance:
    notes = conn(hello=HelloFacts("bad.test") if tls else None, user=UserFacts("alice", "staff"))
    return matrices(accepted, **config).tolerance(notes, Server(address=("192.0.2.1", 8443)), "bad.test")


WARNED = Warned(A, "10.0.0.7", "alice", "bad.test", 8443, "upstream_cert_expired", certificate_sha256(LEAF))


def test_nothing_passes_by_default() -> None:
    found, notes = tolerance(), TlsNotes()
    assert not found(EXPIRED, LEAF)
    found.refused(notes, EXPIRED)
    assert (notes.action, notes.rule, notes.causes, notes.warned) == ("block", "default", ("upstream_cert_expired",), None)


def test_every_fault_is_written_down_with_the_strictest_action() -> None:
    found, notes = tolerance(default="allow", causes={"wrong_host": "untrusted_ca"}), TlsNotes()
    assert found(EXPIRED, LEAF)
    assert found(HOST, LEAF)
    found.note(notes, (EXPIRED, HOST, EXPIRED))
    assert notes.causes == ("upstream_cert_expired", "upstream_cert_wrong_host")
    assert (notes.action, notes.rule) == ("untrusted_ca", "causes.wrong_host")
    assert notes.verify == "upstream_cert_expired: yesterday"


def test_a_good_certificate_leaves_no_word() -> None:
    notes = TlsNotes(verify="ok")
    tolerance(default="allow").note(notes, ())
    assert notes == TlsNotes(verify="ok")


@pytest.mark.security
def test_who_cannot_be_shown_a_bad_leaf_is_refused() -> None:
    """Plain HTTP to us, or a client that was given a trusted leaf before."""
    assert tolerance(default="untrusted_ca")(EXPIRED, LEAF)
    assert not tolerance(default="untrusted_ca", tls=False)(EXPIRED, LEAF)
    later = tolerance(default="untrusted_ca")
    later.conn.client_tls = TlsNotes()
    assert not later(EXPIRED, LEAF)
    later.conn.client_tls.action = "untrusted_ca"
    assert later(EXPIRED, LEAF)


def test_a_warning_passes_for_who_has_accepted_it() -> None:
    found, notes = tolerance(Accepted(WARNED), default="warn"), TlsNotes()
    assert found(EXPIRED, LEAF)
    found.note(notes, (EXPIRED,))
    assert notes.action == "proceeded"


def test_a_warning_offers_what_may_be_accepted() -> None:
    found, notes = tolerance(default="warn"), TlsNotes()
    assert not found(EXPIRED, LEAF)
    found.refused(notes, EXPIRED)
    assert (notes.action, notes.warned) == ("warn", WARNED)


@pytest.mark.security
def test_a_certificate_that_cannot_be_read_cannot_be_accepted() -> None:
    found, notes = tolerance(default="warn"), TlsNotes()
    assert not found(Verdict(Reason.UPSTREAM_CERT_MALFORMED), None)
    found.refused(notes, Verdict(Reason.UPSTREAM_CERT_MALFORMED))
    assert (notes.action, notes.warned) == ("block", None)


@pytest.mark.security
def test_splicing_is_not_decided_here() -> None:
    assert not tolerance(default="splice")(EXPIRED, LEAF)


def test_a_handshake_that_failed_for_another_reason_has_no_action() -> None:
    notes = TlsNotes()
    tolerance().refused(notes, Verdict(Reason.UPSTREAM_TLS_VERSION))
    assert (notes.action, notes.causes) == ("", ())
