"""Downloads that are waited for: how they begin, what they tell, and every way in which they end (C7)."""

import dataclasses
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.reason import Reason
from appliance.patience.download import MAX_PAGE, STALL
from appliance.patience.shelf import FORGOTTEN
from appliance.patience.view import Page, State, View
from tests.appliance.patience.bodies import ALICE, CONFIG, Held, Place

BLOCKED = Page(403, (("Content-Type", "text/html"),), b"blocked")


def test_it_tells_how_far_it_is() -> None:
    download, body, _ = Place().begin()
    body.data = b"x" * 400
    view = download.look()
    assert (view.state, view.received, view.total, view.name) == (State.RECEIVING, 400, 1000, "big.iso")
    body.ended = True
    assert download.look().state is State.SCANNING
    download.ready(body, ())
    assert download.look().state is State.READY


def test_a_file_is_over_and_gone_when_it_was_delivered_once() -> None:
    download, body, task = Place().begin(body=Held(b"0123456789", ended=True))
    assert download.take() is None, "nothing before the verdict"
    download.ready(body, (("Content-Type", "x/y"),))
    opened = download.take()
    assert opened is not None
    assert (os.pread(opened.descriptor, 100, 0), opened.size, opened.headers) == (b"0123456789", 10, (("Content-Type", "x/y"),))
    os.close(opened.descriptor)
    download.sent(0, 4)
    assert not task.records
    download.sent(6, 10)
    download.sent(2, 7)
    assert task.records == [(Reason.OK, 13)]
    assert (body.closed, download.state, download.take()) == (True, State.OVER, None)
    download.sent(0, 10)
    assert len(task.records) == 1


@given(st.permutations(list(range(12))), st.integers(1, 12))
def test_whatever_the_order_of_its_parts_it_is_over_with_the_last(order: list[int], missing: int) -> None:
    download, body, task = Place().begin(body=Held(b"x" * 24, ended=True))
    download.ready(body, ())
    for each in order[:-missing]:
        download.sent(2 * each, 2 * each + 2)
    assert not task.records
    for each in order[-missing:]:
        download.sent(2 * each, 2 * each + 2)
    assert task.records == [(Reason.OK, 24)]


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (5, 11), (7, 6)])
def test_a_part_that_cannot_be_is_none(start: int, end: int) -> None:
    download, body, task = Place().begin(body=Held(b"0123456789", ended=True))
    download.ready(body, ())
    download.sent(start, end)
    download.sent(0, 9)
    assert not task.records


@pytest.mark.security
def test_what_cannot_be_recorded_is_not_over() -> None:
    """Nothing is delivered without a record: the delivery fails, and the file stays for another."""
    download, body, task = Place().begin(body=Held(b"0123456789", ended=True))
    download.ready(body, ())
    task.full = True
    with pytest.raises(OSError, match="full"):
        download.sent(0, 10)
    assert (body.closed, download.state) == (False, State.READY)
    task.full = False
    download.sent(0, 10)
    assert task.records == [(Reason.OK, 20)]


@pytest.mark.security
def test_what_was_stopped_is_never_delivered() -> None:
    download, body, _ = Place().begin(body=Held(b"virus", ended=True))
    download.stopped(Reason.MALWARE_FOUND, dataclasses.replace(BLOCKED, body=b"b" * (MAX_PAGE + 1)))
    view = download.look()
    assert (view.state, view.reason) == (State.STOPPED, Reason.MALWARE_FOUND)
    assert view.page is not None
    assert len(view.page.body) == MAX_PAGE
    download.ready(body, ())
    assert (download.take(), body.closed) == (None, True)


def test_nobody_waits_beyond_the_grace_period() -> None:
    place = Place()
    download, body, task = place.begin()
    for _ in range(5):
        body.data += b"x"
        place.pass_time(CONFIG.grace)
        download.look()
    assert task.cancelled == 0
    place.pass_time(CONFIG.grace + 1)
    assert (task.cancelled, task.records, download.state) == (1, [(Reason.DOWNLOAD_ABANDONED, 0)], State.OVER)
    late = Held(b"late")
    download.ready(late, ())
    assert late.closed, "a verdict that comes later finds nobody"


def test_a_clean_file_is_kept_for_so_long_and_longer_while_it_is_fetched() -> None:
    place = Place()
    download, body, task = place.begin(body=Held(b"0123456789", ended=True))
    download.ready(body, ())
    place.pass_time(CONFIG.keep)
    assert download.state is State.READY
    opened = download.take()
    assert opened is not None
    os.close(opened.descriptor)
    place.pass_time(10 * CONFIG.keep)
    assert download.state is State.READY
    download.sent(0, 3)
    download.back()
    place.pass_time(CONFIG.keep + 1)
    assert task.records == [(Reason.DOWNLOAD_ABANDONED, 3)]
    assert body.closed
    assert task.cancelled == 0, "there is nothing to cancel"


def test_a_server_that_falls_silent_is_given_up_unless_the_scanner_holds_it() -> None:
    place = Place()
    download, body, task = place.begin()
    for pressed in (True, False):
        body.pressed = pressed
        for _ in range(round(STALL)):
            download.look()
            place.pass_time(1.0)
        assert task.records == [], pressed
    for _ in range(2):
        download.look()
        place.pass_time(1.0)
    assert task.records == [(Reason.UPSTREAM_TIMEOUT, 0)]


def test_a_record_that_finds_no_room_is_tried_again() -> None:
    place = Place()
    download, _, task = place.begin()
    task.full = True
    place.pass_time(CONFIG.grace + 1)
    assert (download.state, task.cancelled) == (State.RECEIVING, 0)
    task.full = False
    place.pass_time(1.0)
    assert task.records == [(Reason.DOWNLOAD_ABANDONED, 0)]


def test_a_client_and_a_tenant_may_have_so_many() -> None:
    """At the limits, and beyond; the neighbour is not touched."""
    place = Place()
    first, _, _ = place.begin()
    place.begin()
    assert place.try_begin() is None
    bob = dataclasses.replace(ALICE, user="bob")
    place.begin(bob)
    assert place.try_begin(dataclasses.replace(ALICE, client="192.0.2.8")) is None, "the tenant has three"
    place.begin(dataclasses.replace(ALICE, tenant="other"))
    first.give_up(Reason.DOWNLOAD_ABANDONED)
    place.begin()
    assert place.shelf.states() == {"receiving": 4}


def test_all_addresses_of_an_ipv6_network_are_one_client() -> None:
    place = Place()
    for address in ("2001:db8::1", "2001:db8::2"):
        place.begin(dataclasses.replace(ALICE, client=address))
    assert place.try_begin(dataclasses.replace(ALICE, client="2001:db8::3")) is None
    place.begin(dataclasses.replace(ALICE, client="2001:db8:0:1::1"))


def test_what_is_over_is_remembered_for_a_while() -> None:
    place = Place()
    download, _, _ = place.begin()
    download.give_up(Reason.DOWNLOAD_ABANDONED)
    place.pass_time(FORGOTTEN)
    assert place.shelf.find(download.number) is download
    place.pass_time(1.0)
    assert place.shelf.find(download.number) is None


def test_a_worker_that_ends_gives_everything_back() -> None:
    place = Place()
    _, _, waiting = place.begin()
    ready, body, clean = place.begin(body=Held(b"x", ended=True))
    ready.ready(body, ())
    place.shelf.close()
    assert waiting.records == clean.records == [(Reason.SHUTTING_DOWN, 0)]
    assert (waiting.cancelled, clean.cancelled, body.closed) == (1, 0, True)


def test_views_go_over_the_wire() -> None:
    for page in (None, BLOCKED):
        view = View(State.STOPPED, "n", "u", 5, None, Reason.MALWARE_FOUND, page)
        assert View.from_json(view.to_json()) == view
