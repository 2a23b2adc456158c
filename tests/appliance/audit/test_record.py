import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.audit.fields import ACT, ALIASES, CORE, FIELDS, RETRO, Kind
from appliance.audit.mask import Masker
from appliance.audit.record import to_event
from appliance.domain.decision import Action, Decision, TlsAction, TlsDecision
from appliance.domain.facts import ClientFacts
from appliance.domain.notes import ConnNotes, EscapeNotes, TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.storage.schema import audit_logs
from tests.appliance.audit.samples import START, full_task, task

MASKER = Masker(["token", "code"])


def names_in(event: dict[str, Any], prefix: str = "") -> set[str]:
    found = set()
    for name, value in event.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and path not in ("steps", "scanned_bytes", "unscanned_bytes", "coverage"):
            found |= names_in(value, f"{path}.")
        elif path == "scans":
            for item in value:
                found |= names_in(item, "scans.")
        else:
            found.add(path)
    return found


def test_every_field_is_documented_and_every_documented_field_is_made() -> None:
    assert names_in(to_event(full_task(), MASKER)) == set(FIELDS) - {field.name for field in (*ACT, *RETRO)}


def test_the_event_is_json_and_ascii() -> None:
    event = to_event(full_task(), MASKER)
    assert json.loads(json.dumps(event, allow_nan=False))["destination_host"] == "example.com"


def test_the_core_fields_are_always_there() -> None:
    empty = TaskNotes(ConnNotes(ClientFacts("10.0.0.7", 1, "in")), kind="connection")
    assert {field.name for field in CORE} <= set(to_event(empty, MASKER))


def test_db_07_every_column_is_filled_by_the_event() -> None:
    columns = {field.column for field in FIELDS.values() if field.column}
    assert columns == set(audit_logs.columns.keys()) - {"seq", "metadata"}


def test_aliases_name_fields() -> None:
    assert set(ALIASES.values()) <= set(FIELDS)
    assert not set(ALIASES) & set(FIELDS)


def test_aud_03_one_record_joins_protocol_tls_scans_and_the_way_out() -> None:
    event = to_event(full_task(), MASKER)
    assert event["http_version"] == "HTTP/2.0"
    assert event["decrypt"] == "intercept"
    assert event["decrypt_rule"] == "inspect-all"
    assert event["escape"]["path"] == ("root", "direct")
    assert [scan["outcome"] for scan in event["scans"]] == ["clean", "blocked"]
    assert event["duration_ms"] == 125.0


def test_aud_04_both_sides_of_tls_with_certificates_and_fingerprints() -> None:
    event = to_event(full_task(), MASKER)
    for side in ("client_tls", "server_tls"):
        assert event[side]["version"] == "TLSv1.3"
        assert event[side]["certificate"]["serial"] == "0f1e2d3c4b"
        assert event[side]["chain_sha256"]
    assert event["client_hello"]["ja4"].startswith("t13d")
    assert event["server_tls"]["verify"] == "ok"


def test_icp_13_signature_database_time_size_and_hash() -> None:
    event = to_event(full_task(), MASKER)
    scan = event["scans"][1]
    assert event["signature"] == scan["signature"] == "Eicar-Test-Signature"
    assert (scan["engine"], scan["ms"], scan["size"], scan["sha256"]) == ("ClamAV 1.4.2/27511", 8.5, 20_000, "d4" * 32)


def test_secrets_are_masked_in_url_and_referer() -> None:
    event = to_event(full_task(), MASKER)
    assert event["url"] == "https://example.com/upload?name=a&token=***"
    assert event["referer"] == "https://example.com/form?code=***"


@pytest.mark.parametrize(
    ("scheme", "target", "path", "url"),
    [
        ("http", Target("a.test", 80), "/x", "http://a.test/x"),
        ("http", Target("a.test", 8080), "/x", "http://a.test:8080/x"),
        ("https", Target("2001:db8::1", 443), "/", "https://[2001:db8::1]/"),
        ("wss", Target("a.test", 443), "/ws", "wss://a.test/ws"),
        ("connect", Target("a.test", 443), "", "a.test:443"),
        ("", None, "", ""),
        ("http", Target("a.test", 80), "/r/http://b.test/", "http://a.test/r/http://b.test/"),
        ("http", Target("a.test", 80), "http://user:pw@b.test/", "http://b.test/"),
    ],
)
def test_url(scheme: str, target: Target | None, path: str, url: str) -> None:
    assert to_event(task(scheme=scheme, target=target, path=path), MASKER)["url"] == url


def test_the_rule_is_the_one_that_decided() -> None:
    blocked = task(decision=Decision(Action.BLOCK, Reason.HOST_DENIED, "no-games"), reason=Reason.HOST_DENIED)
    assert to_event(blocked, MASKER)["rule"] == "no-games"
    cut = task(reason=Reason.DECRYPT_BLOCKED)
    cut.conn.tls_decision = TlsDecision(TlsAction.BLOCK, "pinned")
    assert to_event(cut, MASKER)["rule"] == "pinned"
    shut = task(reason=Reason.DENIED_BY_ESCAPER, escape=EscapeNotes(rules=("root: default", "deny: all")))
    assert to_event(shut, MASKER)["rule"] == "deny: all"


HOSTILE = "a\r\nSet-Cookie: x\x00\x1b[2J\u202egnp\u2028\ud800\x7f"


@pytest.mark.security
def test_no_control_character_survives_anywhere() -> None:
    notes = full_task()
    for name in ("method", "path", "http_version", "user_agent", "referer", "request_type", "response_type", "detail"):
        setattr(notes, name, HOSTILE)
    notes.conn.tenant_detail = notes.conn.original_dst = HOSTILE
    notes.conn.events = [HOSTILE]
    hello = notes.conn.hello
    assert hello is not None
    notes.conn.hello = dataclasses.replace(hello, sni=HOSTILE, alpn=(HOSTILE,))
    notes.scans = [
        dataclasses.replace(notes.scans[1], signature=HOSTILE, istag=HOSTILE, engine=HOSTILE, headers=((HOSTILE, HOSTILE),))
    ]
    for side in (notes.conn.client_tls, notes.conn.server_tls):
        assert side is not None
        assert side.certificate is not None
        side.sni = side.alpn = side.verify = side.error = HOSTILE
        side.certificate = dataclasses.replace(side.certificate, subject=HOSTILE, issuer=HOSTILE, names=(HOSTILE,))
    for text in texts_in(to_event(notes, MASKER)):
        assert text.isprintable(), text


def texts_in(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in texts_in(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in texts_in(item)]
    return []


@pytest.mark.security
@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_makes_a_printable_event(path: str, agent: str) -> None:
    event = to_event(task(path=path, user_agent=agent, detail=path, method=agent), MASKER)
    assert all(text.isprintable() for text in texts_in(event))
    json.dumps(event).encode("ascii")


def test_long_texts_and_long_lists_are_cut() -> None:
    notes = full_task(user_agent="a" * 513, path="/" + "b" * 10_000)
    notes.conn.events = ["e"] * 1000
    notes.scans = notes.scans * 100
    event = to_event(notes, MASKER)
    assert len(event["user_agent"]) == 512
    assert event["user_agent"].endswith("…")
    assert len(event["url"]) < 4200
    assert len(event["events"]) == len(event["scans"]) == 32
    exact = to_event(task(user_agent="a" * 512), MASKER)
    assert exact["user_agent"] == "a" * 512


def test_a_task_that_never_started_has_no_negative_time() -> None:
    assert to_event(task(started=START, ended=START - 5), MASKER)["duration_ms"] == 0


def test_kinds_that_queries_cannot_ask_are_few() -> None:
    maps = [field.name for field in FIELDS.values() if field.kind is Kind.MAP]
    assert maps == ["websocket_frames", "scanned_bytes", "unscanned_bytes", "coverage", "steps"]
