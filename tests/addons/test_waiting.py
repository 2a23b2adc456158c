"""Who gets a page instead of waiting, and what comes of the body behind it (C7)."""

from typing import Any

import pytest
from mitmproxy.http import HTTPFlow

from addons.carry import conn_of
from addons.streaming import Streamed
from addons.waiting import Waiting, asking_of, offers
from appliance.config.patience import Patience
from appliance.domain.notes import TaskNotes
from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome
from appliance.engine.inspection import PLANS
from appliance.patience.download import Download, Held, Label, Task
from appliance.patience.ticket import Asking
from appliance.patience.view import Page, State
from icap.client import Adapted, Body
from tests.addons.flows import A, answered, flow, page, task
from tests.addons.test_adapt import Place, verdict
from tests.addons.test_streaming import Reading
from tests.appliance.patience.bodies import Place as Shelves

NAVIGATION = {"accept": "text/html", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


class Desk:
    def __init__(self, *, full: bool = False) -> None:
        self.shelves, self.full = Shelves(), full
        self.begun: list[Download] = []

    def config(self, tenant: str) -> Patience | None:
        return Patience()

    def begin(
        self, asking: Asking, path: str, label: Label, arriving: Held, task: Task, accept: str
    ) -> tuple[Download, Page] | None:
        if self.full:
            return None
        download = self.shelves.shelf.begin(asking, label, arriving, task, Patience())
        assert download is not None
        self.begun.append(download)
        return download, Page(202, (("Refresh", "2;url=/x"),), b"wait")


class Case:
    """A large answer to a browser."""

    def __init__(self, answer: Adapted | None = None, *, full: bool = False, **settings: Any) -> None:
        self.service = Reading(answer)
        self.place = Place(self.service, **{"max_scan_size": 100, "large_bodies": {"above": 10}} | settings)  # type: ignore[arg-type]
        self.desk, self.records = Desk(full=full), list[TaskNotes]()
        self.flow = flow()
        self.flow.request.headers.update(NAVIGATION)
        self.notes = task(self.flow)
        answered(self.flow, body=b"")
        assert self.flow.response is not None
        self.flow.response.headers.pop("content-length", None)
        self.flow.response.headers.update({"content-type": "application/zip", "set-cookie": "a=b"})
        self.place.adapt._offer = offers(self.desk, page, self._record)
        self.cancelled = 0

    def _record(self, _flow: HTTPFlow, notes: TaskNotes) -> None:
        notes.recorded = True
        self.records.append(notes)

    def start(self) -> Streamed:
        self.place.adapt.responseheaders(self.flow)
        streamed = self.flow.metadata[PLANS[False]].start()
        assert isinstance(streamed, Streamed)
        return streamed

    def left(self, data: bytes = b"x" * 50, *, ended: bool = True) -> tuple[Streamed, Waiting]:
        """Its client has the page."""
        streamed = self.start()
        waiting = streamed.waiting
        assert isinstance(waiting, Waiting)
        streamed.feed(data)
        if ended:
            streamed.end()
        assert waiting.begin(self.cancel) is not None
        return streamed, waiting

    def cancel(self) -> None:
        self.cancelled += 1

    @property
    def download(self) -> Download:
        return self.desk.begun[0]


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        ({"sec-fetch-dest": "image"}, {}),
        ({"sec-fetch-dest": ""}, {}),
        ({"sec-fetch-mode": "cors"}, {}),
        ({"x-requested-with": "XMLHttpRequest"}, {}),
        ({}, {"content-type": "text/html; charset=utf-8"}),
        ({}, {"content-type": "Application/XHTML+xml"}),
    ],
)
def test_only_what_a_person_loads_to_save_it_has_a_page(request_: dict[str, str], response: dict[str, str]) -> None:
    """``<a download>`` and "save as" ask with an empty destination: they would save the page as the file."""
    case = Case()
    assert case.start().waiting is not None
    other = Case()
    other.flow.request.headers.update(request_)
    other.flow.response.headers.update(response)  # type: ignore[union-attr]
    assert other.start().waiting is None


@pytest.mark.parametrize(("oversize", "length", "page_"), [
    ("block", None, True), ("bypass", None, False), ("head", None, False), ("bypass", 100, True), ("head", 100, True),
])  # fmt: skip
def test_what_might_not_be_held_as_a_whole_has_none(oversize: str, length: int | None, page_: bool) -> None:
    case = Case(oversize=oversize)
    if length is not None:
        case.flow.response.headers["content-length"] = str(length)  # type: ignore[union-attr]
    assert (case.start().waiting is not None) is page_


def test_a_trickle_is_for_those_who_get_no_page() -> None:
    streamed = Case(large_bodies={"above": 10, "trickle": {}}).start()
    assert streamed.trickle is None
    streamed.waiting = None
    assert streamed.trickle is not None


def test_where_there_is_no_room_for_one_more_the_client_waits() -> None:
    streamed = Case(full=True).start()
    assert streamed.waiting is not None
    assert streamed.waiting.begin(lambda: None) is None


async def test_a_clean_body_is_ready_with_its_type_and_without_cookies() -> None:
    case = Case()
    streamed, waiting = case.left()
    await streamed.judge()
    waiting.concluded(whole=True, why="")
    conn_of(case.flow.client_conn).tenant = None  # the connection has ended
    opened = case.download.take()
    assert opened is not None
    names = {name.lower() for name, _ in opened.headers}
    assert "content-type" in names
    assert "set-cookie" not in names
    case.download.sent(0, 50)
    (notes,) = case.records
    assert (notes.reason, notes.response_bytes, notes.scanned_bytes) == (Reason.OK, 50, {"response": 50})
    assert notes.conn.tenant == A
    with pytest.raises(ValueError, match="closed"):
        streamed.body.read(0, 1)


@pytest.mark.security
async def test_an_infected_body_is_a_page_and_recorded_at_once() -> None:
    found = Adapted(verdict("RESPMOD", Outcome.BLOCKED, Reason.MALWARE_FOUND, signature="Eicar"))
    case = Case(found)
    streamed, waiting = case.left()
    await streamed.judge()
    waiting.concluded(whole=True, why="")
    view = case.download.look()
    assert (view.state, view.reason, case.download.take()) == (State.STOPPED, Reason.MALWARE_FOUND, None)
    assert view.page is not None
    assert view.page.status == 403
    assert [notes.reason for notes in case.records] == [Reason.MALWARE_FOUND]


@pytest.mark.security
@pytest.mark.parametrize("whole", [True, False])
async def test_without_a_verdict_nothing_is_ever_ready(whole: bool) -> None:
    """A scan that was cancelled, or that failed in our own code: the default fate of a body is to be delivered."""
    case = Case()
    _, waiting = case.left()
    waiting.concluded(whole=whole, why="")
    assert (case.download.state, case.download.take()) == (State.STOPPED, None)
    assert len(case.records) == 1
    assert case.records[0].reason is not Reason.OK


@pytest.mark.security
async def test_a_body_that_is_not_whole_is_never_ready() -> None:
    case = Case()
    streamed, waiting = case.left()
    await streamed.judge()
    waiting.concluded(whole=False, why="upstream_closed: in the middle")
    assert case.download.state is State.STOPPED
    assert [(notes.reason, notes.detail) for notes in case.records] == [(Reason.UPSTREAM_CLOSED, "in the middle")]


async def test_what_the_service_made_of_it_is_what_is_delivered() -> None:
    made = Adapted(verdict("RESPMOD", Outcome.MODIFIED), "response", b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\n", b"other")
    case = Case(made)
    streamed, waiting = case.left()
    await streamed.judge()
    waiting.concluded(whole=True, why="")
    opened = case.download.take()
    assert opened is not None
    assert (opened.size, dict(opened.headers)["Content-Type"]) == (5, "a/b")
    case.download.sent(0, 5)
    assert case.records[0].response_bytes == 5


async def test_a_download_that_nobody_waits_for_is_cancelled_and_closed() -> None:
    case = Case()
    streamed, waiting = case.left(ended=False)
    case.download.give_up(Reason.DOWNLOAD_ABANDONED, "x")
    assert case.cancelled == 1
    assert [notes.reason for notes in case.records] == [Reason.DOWNLOAD_ABANDONED]
    waiting.concluded(whole=False, why="")
    assert len(case.records) == 1
    assert isinstance(streamed.body, Body)
    with pytest.raises(ValueError, match="closed"):
        streamed.body.read(0, 1)


def test_who_asks_is_told_from_everybody_else() -> None:
    case = Case()
    asking = asking_of(case.flow, case.notes)
    assert (asking.tenant, asking.host, asking.scheme) == ("a", case.flow.request.pretty_host, case.flow.request.scheme)
    assert asking.client == case.notes.conn.client.ip
