"""Chains, sets, repeats and fail policies: services that hold services (C6, ICP-06)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.reason import Reason, Source
from appliance.domain.verdict import Outcome
from icap.client import Adapted, Chain, FailPolicy, Member, Message, Repeat, ServiceSet
from icap.client.chain import STOPS, strictest
from icap.client.kept import coding_of
from icap.client.repeat import REPEATABLE
from tests.icap.client.fakes import BLOCKED, BYPASSED, ERROR, OVERLOAD, TIMEOUT, Fake, answer, failing, trail
from tests.icap.client.messages import download, told, upload

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"


def _modified(name: str, body: bytes, kind: str = "response", head: bytes = HEAD) -> Adapted:
    return replace(answer(name, Outcome.MODIFIED), kind=kind, head=head, body=body)


# -- chains --


async def test_c6_a_chain_asks_all_and_keeps_each_verdict() -> None:
    first, second = Fake(answer("a")), Fake(answer("b"))
    adapted = await Chain([first, second]).adapt(download())
    assert (told(adapted), trail(adapted)) == ((Outcome.CLEAN, "ok"), [("a", "clean"), ("b", "clean")])
    assert (adapted.kind, adapted.head, adapted.body) == ("unmodified", None, None)


async def test_c6_what_one_link_changes_is_what_the_next_one_sees() -> None:
    second, third = Fake(_modified("b", b"two")), Fake(answer("c"))
    adapted = await Chain([Fake(_modified("a", b"one")), second, third]).adapt(download(b"original"))
    assert [(shown.response_head, shown.body) for shown in (*second.shown, *third.shown)] == [(HEAD, b"one"), (HEAD, b"two")]
    assert (adapted.kind, adapted.body, adapted.verdict.outcome) == ("response", b"two", Outcome.MODIFIED)


async def test_c6_a_changed_request_is_what_the_next_one_sees() -> None:
    head = b"POST http://h.test/up HTTP/1.1\r\nContent-Length: 3\r\n\r\n"
    second = Fake(answer("b", method="REQMOD"))
    adapted = await Chain([Fake(_modified("a", b"new", "request", head)), second]).adapt(upload(b"old"))
    assert (second.shown[0].request_head, second.shown[0].body, adapted.body) == (head, b"new", b"new")


@pytest.mark.parametrize(("kind", "message"), [("response", download(b"old")), ("request", upload(b"old"))])
async def test_c6_a_changed_message_is_known_by_the_coding_in_its_new_head(kind: str, message: Message) -> None:
    start = b"HTTP/1.1 200 OK" if kind == "response" else b"POST http://h.test/up HTTP/1.1"
    head = start + b"\r\nContent-Encoding: br\r\n\r\n"
    second = Fake(answer("b", method=message.method))
    await Chain([Fake(_modified("a", b"new", kind, head)), second]).adapt(replace(message, coding=b"gzip"))
    assert [coding_of(shown) for shown in second.shown] == [b"br"]


@pytest.mark.parametrize(("stop", "outcome"), [(answer("a", BLOCKED, Reason.MALWARE_FOUND), BLOCKED), (failing("a"), ERROR)])
async def test_c6_the_first_that_stops_the_message_ends_the_chain(stop: Adapted, outcome: Outcome) -> None:
    never = Fake(answer("never"))
    adapted = await Chain([Fake(answer("x")), Fake(stop), never]).adapt(download())
    assert (adapted.verdict.outcome, never.shown, len(adapted.verdicts)) == (outcome, [], 2)


async def test_c6_a_block_after_a_change_does_not_deliver_the_change() -> None:
    adapted = await Chain([Fake(_modified("a", b"one")), Fake(answer("b", BLOCKED, Reason.MALWARE_FOUND))]).adapt(download())
    assert (adapted.kind, adapted.body, trail(adapted)) == ("unmodified", None, [("a", "modified"), ("b", "blocked")])


async def test_c6_a_request_that_was_answered_is_shown_to_nobody_else() -> None:
    never = Fake(answer("never"))
    satisfied = _modified("a", b"page")
    adapted = await Chain([Fake(satisfied), never]).adapt(upload())
    assert (adapted.kind, adapted.body, never.shown) == ("response", b"page", [])


async def test_c6_a_bypassed_link_does_not_hide_behind_a_clean_one() -> None:
    lenient = FailPolicy(Fake(failing("a")), on_error="bypass")
    adapted = await Chain([lenient, Fake(answer("b"))]).adapt(download())
    assert (told(adapted), trail(adapted)) == ((BYPASSED, "icap_timeout"), [("a", "bypassed"), ("b", "clean")])


def test_a_chain_and_a_set_need_someone() -> None:
    with pytest.raises(ValueError, match="without"):
        Chain([])
    with pytest.raises(ValueError, match="without"):
        ServiceSet([])


@given(st.lists(st.sampled_from(Outcome), min_size=1, max_size=6))
async def test_c6_no_chain_is_cleaner_than_its_strictest_link(outcomes: list[Outcome]) -> None:
    links = [Fake(answer(str(number), outcome)) for number, outcome in enumerate(outcomes)]
    adapted = await Chain(links).adapt(download())
    stop = next((outcome for outcome in outcomes if outcome in STOPS), None)
    expected = stop or strictest([answer("", outcome).verdict for outcome in outcomes]).outcome
    assert adapted.verdict.outcome is expected


# -- sets --


async def test_icp_06_round_robin_alternates() -> None:
    services = [Fake(answer(name)) for name in "abc"]
    pool = ServiceSet([Member(each) for each in services], "round_robin", first=1)
    assert [(await pool.adapt(download())).verdict.service for _ in range(6)] == list("bcabca")


async def test_icp_06_one_dead_is_skipped_and_back_after_revival() -> None:
    alive = {"a": False}
    services = [Member(Fake(answer("a")), lambda: alive["a"]), Member(Fake(answer("b")))]
    pool = ServiceSet(services, "round_robin")
    assert {(await pool.adapt(download())).verdict.service for _ in range(4)} == {"b"}
    alive["a"] = True
    assert {(await pool.adapt(download())).verdict.service for _ in range(4)} == {"a", "b"}


async def test_icp_06_failover_asks_the_first_that_is_up() -> None:
    up = [True, True]
    pool = ServiceSet([Member(Fake(answer("a")), lambda: up[0]), Member(Fake(answer("b")), lambda: up[1])])
    assert (await pool.adapt(download())).verdict.service == "a"
    up[0] = False
    assert (await pool.adapt(download())).verdict.service == "b"
    up[1] = False
    assert (await pool.adapt(download())).verdict.service == "a"  # nobody is left: it says itself why it cannot


async def test_icp_06_who_failed_is_followed_by_the_next_and_stands_in_the_record() -> None:
    adapted = await ServiceSet([Member(Fake(failing("a"))), Member(Fake(answer("b")))]).adapt(download())
    assert (told(adapted), trail(adapted)) == ((Outcome.CLEAN, "ok"), [("a", "failed"), ("b", "clean")])


async def test_icp_06_when_all_fail_the_last_failure_is_the_set_s() -> None:
    pool = ServiceSet([Member(Fake(failing("a"))), Member(Fake(failing("b", OVERLOAD)))])
    adapted = await pool.adapt(download())
    assert (told(adapted), trail(adapted)) == ((ERROR, "icap_overload"), [("a", "failed"), ("b", "error")])
    passed = await FailPolicy(pool, on_error="bypass").adapt(download())
    assert (told(passed), trail(passed)) == ((BYPASSED, "icap_overload"), [("a", "failed"), ("b", "bypassed")])


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.source is not Source.ICAP])
async def test_icap_c39_what_is_no_failure_of_the_service_is_bypassed_only_when_it_is_too_large(reason: Reason) -> None:
    """A message that broke off, or that we had no room for, is not here to be passed."""
    adapted = await FailPolicy(Fake(failing("a", reason)), on_error="bypass", on_overload="bypass").adapt(download())
    assert adapted.verdict.outcome is (BYPASSED if reason is Reason.BODY_TOO_LARGE else ERROR)


@pytest.mark.parametrize(
    "first",
    [failing("a", Reason.BODY_TOO_LARGE), failing("a", Reason.UPSTREAM_CLOSED), answer("a", BLOCKED, Reason.MALWARE_FOUND)],
)
async def test_icp_06_what_is_about_the_message_is_not_asked_of_another(first: Adapted) -> None:
    never = Fake(answer("never"))
    adapted = await ServiceSet([Member(Fake(first)), Member(never)]).adapt(download())
    assert (adapted, never.shown) == (first, [])


# -- repeats --


async def test_c36_a_repeat_after_a_real_failure() -> None:
    service = Fake(failing("a"), failing("a"), answer("a"))
    adapted = await Repeat(service, 2).adapt(download())
    assert trail(adapted) == [("a", "failed"), ("a", "failed"), ("a", "clean")]


async def test_c36_repeats_end_at_the_limit() -> None:
    service = Fake(failing("a"))
    adapted = await Repeat(service, 2).adapt(download())
    assert (len(service.shown), told(adapted)) == (3, (ERROR, "icap_timeout"))


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in REPEATABLE])
async def test_c36_what_asking_again_does_not_mend_is_not_repeated(reason: Reason) -> None:
    service = Fake(failing("a", reason))
    await Repeat(service, 2).adapt(download())
    assert len(service.shown) == 1


# -- fail policies --


@pytest.mark.parametrize(
    ("reason", "on_error", "on_overload", "outcome"),
    [
        (TIMEOUT, "block", None, ERROR),
        (TIMEOUT, "bypass", None, BYPASSED),
        (TIMEOUT, "block", "bypass", ERROR),
        (TIMEOUT, "bypass", "block", BYPASSED),
        (OVERLOAD, "block", None, ERROR),
        (OVERLOAD, "bypass", None, BYPASSED),
        (OVERLOAD, "block", "bypass", BYPASSED),
        (OVERLOAD, "bypass", "block", ERROR),
    ],
)
async def test_icap_c39_each_failure_has_its_policy(reason: Reason, on_error: str, on_overload: str, outcome: Outcome) -> None:
    policed = FailPolicy(Fake(failing("a", reason)), on_error=on_error, on_overload=on_overload)  # type: ignore[arg-type]
    adapted = await policed.adapt(download())
    assert (adapted.verdict.outcome, adapted.verdict.reason, adapted.kind) == (outcome, reason, "unmodified")


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not ERROR])
async def test_icap_c39_a_verdict_is_never_bypassed(outcome: Outcome) -> None:
    said = replace(answer("a", outcome, Reason.ICAP_PROTOCOL), kind="response", head=HEAD, body=b"x")
    assert await FailPolicy(Fake(said), on_error="bypass", on_overload="bypass").adapt(download()) is said
