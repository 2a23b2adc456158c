import pytest

from appliance.audit.mask import Masker
from appliance.audit.outcome import ORDINARY_ENDS, action_of, event_type_of
from appliance.audit.record import to_event
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason, Source
from tests.appliance.audit.samples import task


def outcome(notes: TaskNotes) -> tuple[str, str, bool]:
    event = to_event(notes, Masker([]))
    return event["event_type"], event["action"], event["blocked"]


def test_log_09_connection() -> None:
    assert outcome(task(kind="connection", status=0, reason=Reason.CLIENT_SILENT)) == ("connection", "allow", False)


def test_log_09_request() -> None:
    assert outcome(task(status=0, reason=Reason.CLIENT_CLOSED)) == ("request", "allow", False)


def test_log_09_response() -> None:
    assert outcome(task(status=200)) == ("response", "allow", False)


def test_log_09_block() -> None:
    assert outcome(task(status=403, reason=Reason.HOST_DENIED)) == ("block", "block", True)
    assert outcome(task(status=403, reason=Reason.MALWARE_FOUND)) == ("block", "block", True)


def test_log_09_allow() -> None:
    assert outcome(task(kind="tunnel", status=200)) == ("allow", "allow", False)


def test_log_09_error() -> None:
    assert outcome(task(status=504, reason=Reason.CONNECT_TIMEOUT)) == ("error", "fail", False)
    assert outcome(task(status=500, reason=Reason.INTERNAL_ERROR)) == ("error", "block", True)


def test_a_scanner_that_is_down_is_an_error_that_blocked() -> None:
    assert outcome(task(status=503, reason=Reason.ICAP_TIMEOUT)) == ("error", "block", True)


def test_redirects_and_challenges_have_their_own_action() -> None:
    assert outcome(task(status=302, reason=Reason.POLICY_REDIRECTED)) == ("block", "redirect", True)
    assert outcome(task(status=407, reason=Reason.AUTH_REQUIRED)) == ("block", "require_auth", True)


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.word)
def test_every_reason_has_an_event_type_and_an_action(reason: Reason) -> None:
    notes = task(reason=reason)
    kind, action = event_type_of(notes), action_of(notes)
    assert (kind == "response") == (action == "allow") == (reason in ORDINARY_ENDS)
    if reason.source is Source.POLICY:
        assert kind == "block"
        assert action != "fail"


@pytest.mark.parametrize("reason", [r for r in Reason if r.word.startswith("upstream_cert_")], ids=lambda reason: reason.word)
def test_a_bad_certificate_is_refused_not_failed(reason: Reason) -> None:
    assert action_of(task(reason=reason)) == "block"
