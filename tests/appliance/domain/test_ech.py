"""C13: Encrypted Client Hello, as far as it can be known."""

import pytest
from OpenSSL import SSL

from appliance.domain.decision import TlsAction, TlsDecision
from appliance.domain.ech import EchMode, ech_of, judge
from appliance.domain.facts import ClientFacts, HelloFacts
from appliance.domain.notes import ConnNotes, TaskNotes, TlsNotes
from appliance.domain.tls_failure import ALERTS, alert_in, plain_error

ECH, PLAIN = HelloFacts("public.test", has_ech=True), HelloFacts("public.test")


def _by_action() -> dict[TlsAction, TlsDecision]:
    return {each: TlsDecision(each, "rule", would=("w: block",)) for each in TlsAction}


@pytest.mark.parametrize(
    ("mode", "before", "after"),
    [
        ("allow", TlsAction.SPLICE, TlsAction.SPLICE),
        ("allow", TlsAction.INTERCEPT, TlsAction.INTERCEPT),
        ("intercept", TlsAction.SPLICE, TlsAction.INTERCEPT),
        ("intercept", TlsAction.INTERCEPT, TlsAction.INTERCEPT),
        ("intercept", TlsAction.BLOCK, TlsAction.BLOCK),
        ("block", TlsAction.SPLICE, TlsAction.BLOCK),
        ("block", TlsAction.INTERCEPT, TlsAction.BLOCK),
        ("block", TlsAction.BLOCK, TlsAction.BLOCK),
    ],
)
def test_c13_the_name_shown_is_not_the_last_word(mode: EchMode, before: TlsAction, after: TlsAction) -> None:
    decision = _by_action()[before]
    found = judge(decision, ECH, mode)
    assert found.action is after
    assert found.rule == ("rule" if before is after else "ech")
    assert found.would == decision.would  # what monitored rules would have done is still told
    assert judge(decision, PLAIN, mode) is decision


def task(kind: str = "request", hello: HelloFacts = ECH, tls: TlsNotes | None = None) -> TaskNotes:
    return TaskNotes(ConnNotes(ClientFacts("10.0.0.7", 4000, "explicit"), hello=hello, client_tls=tls), kind=kind)


@pytest.mark.parametrize(
    ("made", "word"),
    [
        (task(hello=PLAIN), ""),
        (task("tunnel"), "offered"),
        (task("connection", tls=TlsNotes()), "offered"),
        (task("connection", tls=TlsNotes("TLSv1.3")), "offered"),
        (task("request", tls=TlsNotes("TLSv1.3")), "grease"),
        (task("websocket", tls=TlsNotes("TLSv1.3")), "grease"),
        (task("connection", tls=TlsNotes("TLSv1.3", error="tlsv13 alert ech required")), "fallback"),
        (task("connection", tls=TlsNotes("TLSv1.3", error="tlsv13 alert unknown ca")), "offered"),
    ],
)
def test_c13_the_record_says_what_is_known_and_no_more(made: TaskNotes, word: str) -> None:
    assert ech_of(made) == word


def test_c13_the_alert_of_a_client_that_meant_it_is_the_only_one_without_a_text() -> None:
    """Holds for the library that is installed: another may name it, or fail to name more."""
    SSL.Context(SSL.TLS_METHOD)  # loads the texts
    lib, ffi = vars(SSL)["_lib"], vars(SSL)["_ffi"]
    nameless = {number for number in ALERTS if lib.ERR_reason_error_string(20 << 23 | 1000 + number) == ffi.NULL}
    assert nameless <= {0, 121}  # close_notify is no error
    assert alert_in(plain_error("TLS Error: [('SSL routines', '', '')]")) == "ech_required"
