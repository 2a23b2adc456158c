"""Where pages and files of downloads are asked for (C7)."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.patience.desk import Delivery, Desk
from appliance.patience.download import MAX_FETCHING, Download, Label
from appliance.patience.ticket import Tickets
from appliance.patience.view import Page
from appliance.patience.wire import Counter
from tests.appliance.patience.bodies import ALICE, CONFIG, Held, Place, Task

TENANT: Any = SimpleNamespace(tenant_name="Acme", branding=SimpleNamespace(title="", contact=""))


class Office:
    def __init__(self, directory: Path) -> None:
        self.place = Place()
        self.body = Held(b"0123456789", ended=True)
        tickets = Tickets(bytes(32), lambda: 1000.0)
        self.desk = Desk(self.place.shelf, tickets, {ALICE.tenant: (TENANT, CONFIG)}, directory, "one")
        self.counter = Counter(directory, "one", self.place.shelf.find)
        self.token = ""

    def begin(self, path: str = "/big.iso") -> tuple[Download, Page]:
        label = Label("big.iso", "https://files.test/big.iso", 10)
        found = self.desk.begin(ALICE, path, label, self.body, Task(), "text/html")
        assert found is not None
        self.token = dict(found[1].headers)["Refresh"].partition("ticket=")[2]
        return found


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    made = Office(tmp_path)
    made.counter.start()
    yield made
    made.counter.close()


@pytest.mark.security
@pytest.mark.parametrize("path", ["//evil.test/x", "/\\evil.test/x", "http://evil.test/", ""])
async def test_the_way_back_stays_on_the_site(office: Office, path: str) -> None:
    """Browsers take a backslash for a slash."""
    office.begin(path)
    office.place.pass_time(CONFIG.grace + 1)
    page = await office.desk.page(office.token, ALICE, "text/html")
    assert b'<a href="/">Load it again</a>' in page.body


@pytest.mark.security
async def test_lim_04_a_file_is_on_its_way_so_often_at_a_time(office: Office) -> None:
    download, _ = office.begin()
    download.ready(office.body, ())
    found = [await office.desk.file(office.token, ALICE, "GET", {}, "") for _ in range(MAX_FETCHING)]
    more = await office.desk.file(office.token, ALICE, "GET", {}, "")
    assert isinstance(more, Page)
    assert (more.status, dict(more.headers)["Retry-After"]) == (503, str(CONFIG.refresh))
    for each in found:
        assert isinstance(each, Delivery)
        os.close(each.file.descriptor)
        each.left(0)
