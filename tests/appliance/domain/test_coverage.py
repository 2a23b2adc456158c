"""D3: each byte of a task in exactly one bucket."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.coverage import SPLICES, UNDECRYPTABLES, Bucket, coverage, key, parse
from appliance.domain.decision import TlsAction, TlsDecision
from appliance.domain.facts import ClientFacts
from appliance.domain.not_scanned import NotScanned
from appliance.domain.notes import ConnNotes, TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome, ScanVerdict

DOCS = Path(__file__).parents[3] / "docs" / "coverage.md"
WHYS = {
    Bucket.NOT_SCANNED: {each.word for each in NotScanned},
    Bucket.SPLICED: set(SPLICES),
    Bucket.UNDECRYPTABLE: set(UNDECRYPTABLES),
}


def notes(**fields: Any) -> TaskNotes:
    return TaskNotes(ConnNotes(ClientFacts("10.0.0.7", 1, "in")), **fields)


def verdict(outcome: Outcome, method: str = "RESPMOD", unscanned: str = "") -> ScanVerdict:
    return ScanVerdict("icap://a/b", method, outcome, unscanned=unscanned)


SIZES = st.integers(0, 1 << 40)
WEIRD = st.integers(-10, 1 << 40)
DECISIONS = st.sampled_from(
    [
        None,
        *(
            TlsDecision(TlsAction.SPLICE, rule)
            for rule in ("banks", "no_sni", "splice_list", "exclusion:a.test", "exclusion:shipped:x", "upstream_certificates a")
        ),
        TlsDecision(TlsAction.SPLICE, "exclusion:on_client_certificate"),
        TlsDecision(TlsAction.SPLICE, "no_interception"),
        TlsDecision(TlsAction.SPLICE, by_default=True),
    ]
)


@given(
    st.sampled_from(["request", "tunnel", "connection", "websocket"]),
    SIZES,
    SIZES,
    st.lists(
        st.builds(
            verdict, st.sampled_from(Outcome), st.sampled_from(["REQMOD", "RESPMOD"]), st.sampled_from(["", "encrypted"])
        ),
        max_size=4,
    ),
    st.dictionaries(st.sampled_from(["request", "response"]), WEIRD),
    st.dictionaries(
        st.builds(
            lambda side, why: f"{side}: {why.word}", st.sampled_from(["request", "response"]), st.sampled_from(NotScanned)
        ),
        WEIRD,
    ),
    st.sampled_from(Reason),
    st.booleans(),
    st.booleans(),
    DECISIONS,
    st.sampled_from(["https", "tls", "tcp"]),
)
def test_the_buckets_of_a_side_add_up_to_its_counter(
    kind: str,
    sent: int,
    got: int,
    scans: list[ScanVerdict],
    scanned: dict[str, int],
    unscanned: dict[str, int],
    reason: Reason,
    own: bool,
    portal: bool,
    decision: TlsDecision | None,
    scheme: str,
) -> None:
    """Whatever else the notes say, and also where they contradict each other."""
    task = notes(kind=kind, request_bytes=sent, response_bytes=got, scans=scans, scheme=scheme)
    task.scanned_bytes, task.unscanned_bytes = scanned, unscanned
    task.reason, task.own_answer, task.portal, task.conn.tls_decision = reason, own, portal, decision
    found = coverage(task)
    sums = {"request": 0, "response": 0}
    for name, size in found.items():
        direction, bucket, why = parse(name)
        assert size > 0
        assert key(direction, bucket, why) == name
        assert why in WHYS.get(bucket, {""})
        sums[direction] += size
    assert sums == {"request": sent, "response": got}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"scanned_bytes": {"response": 100}}, {"scanned": 100}),
        ({"scanned_bytes": {"response": 90}}, {"scanned": 100}),  # the service changed the body, or was content with its head
        ({"scans": [verdict(Outcome.CLEAN)]}, {"scanned": 100}),
        (
            {"scanned_bytes": {"response": 60}, "unscanned_bytes": {"response: head_only": 40}},
            {"not_scanned head_only": 40, "scanned": 60},
        ),
        ({"unscanned_bytes": {"response: too_large": 100}}, {"not_scanned too_large": 100}),
        ({"unscanned_bytes": {"response: too_large": 900}}, {"not_scanned too_large": 100}),
        ({"unscanned_bytes": {"response: encrypted": 4}, "scans": [verdict(Outcome.CLEAN)]}, {"not_scanned encrypted": 100}),
        ({"scans": [verdict(Outcome.CLEAN, unscanned="encrypted")]}, {"not_scanned encrypted": 100}),
        ({"scans": [verdict(Outcome.BYPASSED)]}, {"not_scanned scan_failed": 100}),
        ({"scans": [verdict(Outcome.FAILED), verdict(Outcome.CLEAN)]}, {"scanned": 100}),
        ({"scans": [verdict(Outcome.SKIPPED)]}, {"not_scanned skipped": 100}),
        (
            {"scans": [verdict(Outcome.BLOCKED)], "scanned_bytes": {"response": 100}, "reason": Reason.MALWARE_FOUND},
            {"blocked": 100},
        ),
        ({"scans": [verdict(Outcome.BLOCKED)], "own_answer": True}, {"own": 100}),
        ({"portal": True}, {"own": 100}),
        ({"scans": [verdict(Outcome.CLEAN, "REQMOD")]}, {"not_scanned unjudged": 100}),
        ({"reason": Reason.CLIENT_CLOSED}, {"not_scanned unjudged": 100}),
        ({"kind": "websocket"}, {"not_scanned websocket": 100}),
        ({"kind": "tunnel", "scheme": "tcp"}, {"undecryptable unknown_protocol": 100}),
    ],
)  # fmt: skip
def test_where_bytes_to_the_client_are(fields: dict[str, Any], expected: dict[str, int]) -> None:
    assert coverage(notes(response_bytes=100, **fields)) == {f"response: {name}": size for name, size in expected.items()}


def test_what_of_a_request_did_not_go_on_is_blocked() -> None:
    assert coverage(notes(request_bytes=7, reason=Reason.HOST_DENIED)) == {"request: blocked": 7}
    assert coverage(notes(request_bytes=7, scans=[verdict(Outcome.ERROR, "REQMOD")])) == {"request: blocked": 7}


def test_what_went_on_unjudged_before_a_block_has_gone_on() -> None:
    streamed = notes(request_bytes=7, reason=Reason.MALWARE_FOUND, unscanned_bytes={"request: no_service": 7})
    assert coverage(streamed) == {"request: not_scanned no_service": 7}


def test_a_websocket_s_handshake_may_have_had_a_body() -> None:
    assert coverage(notes(kind="websocket", request_bytes=10, scanned_bytes={"request": 4})) == {
        "request: scanned": 4,
        "request: not_scanned websocket": 6,
    }


@pytest.mark.parametrize(
    ("decision", "place"),
    [
        (TlsDecision(TlsAction.SPLICE, "banks"), "spliced rule"),
        (TlsDecision(TlsAction.SPLICE, by_default=True), "spliced default"),
        (TlsDecision(TlsAction.SPLICE, "default"), "spliced rule"),
        (TlsDecision(TlsAction.SPLICE, "no_interception"), "spliced no_interception"),
        (TlsDecision(TlsAction.SPLICE, "exclusion:shipped:apple"), "spliced shipped"),
        (TlsDecision(TlsAction.SPLICE, "exclusion:a.test"), "spliced exclusion"),
        (TlsDecision(TlsAction.SPLICE, "exclusion:on_client_certificate"), "undecryptable client_certificate"),
        (TlsDecision(TlsAction.SPLICE, "upstream_certificates old"), "spliced upstream_certificates"),
        (None, "spliced default"),
    ],
)
def test_why_a_relay_was_not_decrypted(decision: TlsDecision | None, place: str) -> None:
    task = notes(kind="tunnel", scheme="tls", request_bytes=1, response_bytes=2)
    task.conn.tls_decision = decision
    assert coverage(task) == {f"request: {place}": 1, f"response: {place}": 2}


def test_every_bucket_and_word_is_documented_with_its_text() -> None:
    text = DOCS.read_text()
    assert [each.word for each in Bucket if f"| `{each.word}` | {each.text} |" not in text] == []
    for words in (SPLICES, UNDECRYPTABLES):
        assert [word for word, about in words.items() if f"| `{word}` | {about} |" not in text] == []
