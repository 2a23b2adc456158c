"""D6: how a change of signatures is noticed, and what a service is shown of a sample."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.app.retro_services import RetroServices, changed, message, watched
from appliance.domain.quarantine import Item
from appliance.retro.rejudge import Sample
from tests.appliance.app.test_retro_lists import config

ITEM = Item("n" * 32, "acme", 1.0, "task", "a.test", "a" * 64, 4, side="response", coding="gzip", media_type="application/zip")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("", "a:1", False), ("a:1", "a:1", False), ("a:1", "a:2", True), ("a:1", "a:1 b:1", False), ("a:1 b:1", "a:1", True),
        ("a:1 files:x.0", "a:1 files:x.1", True),
    ],
)  # fmt: skip
def test_what_becomes_known_is_no_change(before: str, after: str, told: bool) -> None:
    assert changed(before, after) is told


def test_files_are_told_when_they_change_and_when_that_has_settled(tmp_path: Path) -> None:
    folder, single = tmp_path / "db", tmp_path / "one.hdb"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "a.ndb").write_text("a")
    now = (folder / "below" / "a.ndb").stat().st_ctime
    paths = [folder, single]
    first = watched(paths, now)
    assert watched(paths, now + 4.9) == first
    settled = [watched(paths, now + seconds) for seconds in (5.0, 59.0, 60.5, 661.0, 99_999.0)]
    assert [each.rpartition(".")[2] for each in settled] == ["1", "1", "2", "3", "3"]
    single.write_text("b")
    assert watched(paths, now).partition(".")[0] != first.partition(".")[0]
    before = watched(paths, now)
    os.utime(single, (1.0, 1.0))
    assert watched(paths, now).partition(".")[0] != before.partition(".")[0]
    (folder / "below" / "a.ndb").unlink()
    assert watched([folder], now) == watched([], now) != watched(paths, now)


def test_a_tag_keeps_what_a_service_does_not_tell_now(tmp_path: Path) -> None:
    made = config(tmp_path, extra="retro: {samples: {tenants: [theirs, ruled]}}")
    services = RetroServices(made)
    assert sorted(services.by_tenant) == ["ruled", "theirs"]
    [client] = services.by_tenant["theirs"].clients
    assert services.tag("theirs", "", 0.0) == ""
    client.stats.istag = "one"
    first = services.tag("theirs", "", 0.0)
    assert first
    assert services.tag("ruled", "", 0.0) == ""
    client.stats.istag = ""
    assert services.tag("theirs", first, 0.0) == first
    client.stats.istag = "two"
    assert changed(first, services.tag("theirs", first, 0.0))


def test_what_a_service_is_shown() -> None:
    shown = message(Sample(ITEM, b"body", "https://a.test/x.zip?q"), identity=True)
    assert (shown.method, shown.body, shown.tenant, shown.identity.tenant) == ("RESPMOD", b"body", "acme", "acme")
    assert shown.request_head.startswith(b"GET https://a.test/x.zip?q HTTP/1.1\r\n")
    assert shown.response_head is not None
    for line in (b"Content-Type: application/zip\r\n", b"Content-Encoding: gzip\r\n"):
        assert line in shown.response_head
    upload = message(Sample(replace(ITEM, side="request", coding=""), b"body", ""), identity=False)
    assert (upload.method, upload.response_head, upload.identity.tenant) == ("REQMOD", None, "")
    assert upload.request_head.startswith(b"POST http://a.test/ HTTP/1.1\r\n")


@pytest.mark.security
@pytest.mark.parametrize("url", ["https://a.test/ HTTP/1.1\r\nX: y", "https://a.test/é", "https://a.test/a b"])
def test_no_url_of_a_record_becomes_a_header(url: str) -> None:
    shown = message(Sample(ITEM, b"body", url), identity=False)
    assert shown.request_head.startswith(b"GET http://a.test/ HTTP/1.1\r\n")
