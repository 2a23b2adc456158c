"""C4: the category of a TLS failure, from what each side left in the notes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.facts import ClientFacts, HelloFacts
from appliance.domain.notes import ConnNotes, TaskNotes, TlsNotes
from appliance.domain.reason import Reason
from appliance.domain.tls_failure import ALERTS, QUICK, TlsFailed, TlsFailure, alert_in, failure_of, plain_error


def task(reason: Reason = Reason.CLIENT_CLOSED, *, ended: float = 100.0, **sides: Any) -> TaskNotes:
    conn = ConnNotes(ClientFacts("10.0.0.7", 1, "in"), hello=HelloFacts("a.test"), requests=1, **sides)
    return TaskNotes(conn, kind="connection", reason=reason, ended=ended)


def word(notes: TaskNotes) -> str:
    found = failure_of(notes)
    return f"{found.side} {found.category.value}" if found else ""


@pytest.mark.parametrize(
    ("error", "category"),
    [
        ("unsupported protocol", "version"),
        ("tlsv1 alert protocol version", "version"),
        ("inappropriate fallback", "version"),
        ("no shared cipher", "cipher"),
        ("no suitable signature algorithm", "cipher"),
        ("tls alert handshake failure", "cipher"),
        ("dh key too small", "cipher"),
        ("tlsv1 alert no application protocol", "feature"),
        ("tlsv1 unrecognized name", "feature"),
        ("unsafe legacy renegotiation disabled", "feature"),
        ("binder does not verify", "resume"),
        ("tlsv1 alert internal error", "resource"),
        ("excessive message size", "resource"),
        ("wrong version number", "protocol"),
        ("tls alert unexpected message", "protocol"),
        ("something of tomorrow", "protocol"),
    ],
)
def test_c4_words_of_the_library(error: str, category: str) -> None:
    assert word(task(Reason.CLIENT_TLS_FAILED, client_tls=TlsNotes(error=error))) == f"client {category}"
    assert word(task(Reason.UPSTREAM_TLS_FAILED, server_tls=TlsNotes(error=error))) == f"server {category}"


@pytest.mark.parametrize("alert", ["unknown ca", "bad certificate", "certificate unknown", "certificate expired"])
@pytest.mark.parametrize(("trusts", "category"), [(False, "client_reject"), (True, "pinned")])
def test_c4_who_refuses_our_certificate(alert: str, trusts: bool, category: str) -> None:
    tls = TlsNotes(error=f"tlsv1 alert {alert}", cipher="TLS_AES_128_GCM_SHA256", client_trusts=trusts)
    assert word(task(Reason.CLIENT_REJECTED_LEAF, client_tls=tls)) == f"client {category}"


@pytest.mark.parametrize(
    ("cipher", "category"), [("TLS_AES_128_GCM_SHA256", "pinned"), ("", "protocol")], ids=["after", "before"]
)
def test_c4_cut_after_our_certificate_is_a_pin_and_before_it_is_not(cipher: str, category: str) -> None:
    tls = TlsNotes(error="connection closed", cipher=cipher)
    assert word(task(Reason.CLIENT_TLS_FAILED, client_tls=tls)) == f"client {category}"


@pytest.mark.parametrize(("after", "expected"), [(0.0, "client pinned"), (QUICK - 0.01, "client pinned"), (QUICK, "")])
def test_c4_who_leaves_right_after_the_handshake(after: float, expected: str) -> None:
    tls = TlsNotes(version="TLSv1.3", cipher="x", done=50.0)
    assert word(task(ended=50.0 + after, client_tls=tls)) == expected


def test_c4_who_has_asked_for_something_is_no_pin() -> None:
    notes = task(ended=50.5, client_tls=TlsNotes(version="TLSv1.3", cipher="x", done=50.0))
    notes.conn.requests = 2
    assert failure_of(notes) is None


@pytest.mark.parametrize(
    ("error", "asked", "category"),
    [
        ("tlsv13 alert certificate required", True, "mtls"),
        ("tlsv13 alert certificate required", False, "protocol"),
        ("tls alert handshake failure", True, "mtls"),
        ("tls alert handshake failure", False, "cipher"),
        ("sslv3 alert bad certificate", True, "mtls"),
        ("connection closed", True, "mtls"),
        ("no shared cipher", True, "cipher"),
        ("upstream_cert_expired: certificate has expired", True, "certificate"),
    ],
)
def test_c4_servers_that_want_a_client_certificate(error: str, asked: bool, category: str) -> None:
    tls = TlsNotes(error=error, asked_certificate=asked)
    assert word(task(Reason.UPSTREAM_TLS_FAILED, server_tls=tls)) == f"server {category}"


def test_c4_the_side_that_the_reason_blames_is_named() -> None:
    both = {"client_tls": TlsNotes(error="no shared cipher"), "server_tls": TlsNotes(error="upstream_cert_expired: x")}
    assert word(task(Reason.UPSTREAM_CERT_EXPIRED, **both)) == "server certificate"
    assert word(task(Reason.CLIENT_TLS_FAILED, **both)) == "client cipher"


def test_c4_what_has_not_failed_has_no_category() -> None:
    fine = TlsNotes(version="TLSv1.3", cipher="x", verify="ok", done=1.0)
    assert failure_of(TaskNotes(ConnNotes(ClientFacts("10.0.0.7", 1, "in")))) is None
    assert failure_of(task(Reason.OK, client_tls=fine, server_tls=fine)) is None
    assert failure_of(task(Reason.IDLE_TIMEOUT, client_tls=fine)) is None


def test_c4_a_hello_that_is_none() -> None:
    notes = TaskNotes(ConnNotes(ClientFacts("10.0.0.7", 1, "in")), reason=Reason.BAD_CLIENT_HELLO)
    assert failure_of(notes) == TlsFailed(TlsFailure.PROTOCOL, "client")


def test_c4_ten_categories_each_with_a_text() -> None:
    assert {each.value for each in TlsFailure} == {
        "certificate", "cipher", "version", "protocol", "feature", "resume", "resource", "client_reject", "pinned", "mtls",
    }  # fmt: skip
    assert all(each.text.endswith(".") for each in TlsFailure)


def test_the_binding_s_shape_is_taken_off() -> None:
    assert plain_error("OpenSSL Error([('SSL routines', '', 'no shared cipher')])") == "no shared cipher"
    assert plain_error("Error([('a', '', 'x'), ('b', '', 'y'), ('a', '', 'x')])") == "x; y"
    assert plain_error("connection closed") == "connection closed"


@given(st.text())
def test_any_error_text_has_a_category_and_at_most_a_known_alert(text: str) -> None:
    plain = plain_error(text)
    assert alert_in(plain) in {"", *ALERTS.values()}
    for side in ("client_tls", "server_tls"):
        found = failure_of(task(Reason.OK, **{side: TlsNotes(error=plain)}))
        assert (found is None) is (not plain)
