"""The patience page (C7): who loads a large file sees how far it is, and gets it when it is clean, and nobody else does."""

import contextlib
import hashlib
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.chromium import browser, why_not
from tests.e2e.large import BigOrigin, StreamScanner, big_origin, digest, held_bodies, stream_scanner
from tests.e2e.records import record, records
from tests.e2e.running import Answer, Running, base_config, running, wait_until
from tests.e2e.scanners import auditor
from tests.e2e.webserver import WebServer, webserver
from tests.proxies import Peer, nginx

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

MIB = 1 << 20
SIZE = 3 * MIB
BROWSER = ("--header", "Accept: text/html,application/xhtml+xml,*/*;q=0.8")
NAVIGATION = (*BROWSER, "--header", "Sec-Fetch-Mode: navigate", "--header", "Sec-Fetch-Dest: document")
PATIENT = {"after": "300ms", "refresh": 1, "grace": "8s", "keep": "60s", "per_client": 3}
SOURCES = {"other": "127.0.0.9", "hasty": "127.0.0.5", "plain": "127.0.0.6"}
NEIGHBOUR = "127.0.0.77"
"""Another client of the default tenant."""


@dataclass
class Lab:
    appliance: Running
    origin: BigOrigin
    front: Peer
    """The same origin over HTTP/2."""
    scanner: StreamScanner
    web: WebServer
    directory: Path
    asked: int = 0

    def path(self, query: str = "", service: str = "/wait", size: int = SIZE) -> tuple[str, str]:
        """A file that no other test asks for: its path, and the end of it."""
        self.asked += 1
        mark = f"mark.{self.asked}."
        return f"{service}/gen?size={size}{query}&{mark}", mark

    def get(self, path: str, *args: str | Path, source: str = "", host: str = "origin.test", timeout: int = 60) -> Answer:
        port = self.front.port if "--http2" in args else self.origin.port
        base = path if path.startswith("http") else f"https://{host}:{port}{path}"
        from_ = ["--interface", source] if source else []
        return self.appliance.curl(*from_, "--cacert", self.appliance.ca(), *args, base, timeout=timeout)

    def begin(self, path: str, *args: str, **more: Any) -> str:
        """Load a file as a browser does: the address of the page that comes in its place."""
        answer = self.get(path, *NAVIGATION, *args, **more)
        assert answer.status == 202, (answer.status, answer.error, answer.body[:300])
        found = re.fullmatch(r"1;url=(/\.well-known/arcus/download\?ticket=[\w.-]+)", answer.headers["refresh"])
        assert found, answer.headers
        return found[1]

    def look(self, page: str, *args: str, **more: Any) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.get(page, "--header", "Accept: application/json", *args, **more).body)
        return value

    def ready(self, page: str, *args: str, **more: Any) -> str:
        """The address of the file, when it is clean."""
        return str(wait_until(lambda: self.look(page, *args, **more).get("file"), what="the file is clean"))

    @property
    def held(self) -> int:
        return held_bodies(self.appliance)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("patience")
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(webserver(directory))
        origin = stack.enter_context(big_origin(web.issue(directory, "origin.test", "second.test")))
        scanner = stack.enter_context(stream_scanner())
        proxied = f"""
            location / {{
                proxy_pass https://127.0.0.1:{origin.port}; proxy_http_version 1.1; proxy_buffering off;
                proxy_max_temp_file_size 0;
            }}"""
        front = stack.enter_context(nginx(tls=web.issue(directory, "origin.test"), http2=True, server=proxied))
        appliance = stack.enter_context(running(config(directory / "state", web, scanner), directory))
        yield Lab(appliance, origin, front, scanner, web, directory)


@pytest.fixture(autouse=True)
def open_again(lab: Lab) -> Iterator[None]:
    """Verdicts wait until the test lets them come, and none waits after it."""
    lab.scanner.go.clear()
    lab.origin.go.clear()
    yield
    lab.scanner.go.set()
    lab.origin.go.set()
    wait_until(lambda: not lab.held, 90, "nothing is held any more")


def config(state: Path, web: WebServer, scanner: StreamScanner) -> dict[str, Any]:
    def made(name: str, **large: Any) -> dict[str, Any]:
        return auditor(name, web, scanner.uri, max_scan_size="1G", large_bodies=large)

    auditors = [
        made("patient", patience=PATIENT),
        made("hasty", patience=PATIENT | {"grace": "2s", "keep": "3s", "per_client": 1}),
        made("plain"),
    ]
    default = {"tenant_id": "default", "ca": "default", "auditor": "patient", "escaper": "direct"}
    tenants = [
        default | {"tenant_id": n, "auditor": n if n != "other" else "patient", "match": {"networks": [f"{ip}/32"]}}
        for n, ip in SOURCES.items()
    ]
    hosts = {"origin.test": ["127.0.0.1"], "second.test": ["127.0.0.1"]}
    return base_config(
        state,
        workers=2,
        resolver=[{"name": "local", "type": "system", "hosts": hosts}],
        auditor=auditors,
        tenant=[default, *tenants],
        held_bodies={"memory": "1M", "disk": "1G"},
    )


# -- a download that ends well -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("framing", ["", "&chunked"])
def test_c7_a_clean_file_comes_after_its_page(lab: Lab, version: str, framing: str) -> None:
    """C7: the page names the file and how much has come; then the bytes are the origin's; one record; nothing stays."""
    path, mark = lab.path(framing)
    page = lab.begin(path, version)
    assert lab.look(page, version)["state"] in ("receiving", "scanning")
    wait_until(lambda: lab.look(page, version)["state"] == "scanning", what="it has come")
    said = lab.look(page, version)
    assert (said["received"], said["total"], said["file"]) == (SIZE, None if framing else SIZE, None)
    lab.scanner.go.set()
    file = lab.ready(page, version)
    answer = lab.get(file, version)
    assert (answer.status, hashlib.sha256(answer.body).hexdigest()) == (200, digest(SIZE))
    event = record(lab.appliance, mark)
    assert (event["reason"], event["bytes_sent"], event["scanned_bytes"]) == ("ok", SIZE, {"response": SIZE})
    assert "from its page" in event["detail"]
    assert not records(lab.appliance, "/.well-known/arcus/", tenant_id="default", reason="ok")
    wait_until(lambda: lab.held == 0, what="the file is given back")
    assert lab.look(page, version)["state"] == "over"
    assert lab.get(file, version).status == 410


def test_c7_the_page_shows_itself_again_and_runs_nothing(lab: Lab) -> None:
    path, _ = lab.path()
    answer = lab.get(path, *NAVIGATION)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert b"<script" not in answer.body
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert b"<progress" in answer.body
    again = lab.get(answer.headers["refresh"].partition("url=")[2], *NAVIGATION)
    assert (again.status, again.headers["refresh"]) == (202, answer.headers["refresh"])
    lab.scanner.go.set()


def test_c7_the_file_has_its_name_and_none_of_its_cookies(lab: Lab) -> None:
    """It is saved, never shown: under the site's name it would run without the site's own policies."""
    path, _ = lab.path("&named=a%20report.pdf&type=application/pdf")
    page = lab.begin(path)
    lab.scanner.go.set()
    answer = lab.get(lab.ready(page))
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"].startswith('attachment; filename="a report.pdf"')
    assert "set-cookie" not in answer.headers


def test_c7_over_plain_http_and_a_connection_that_ends(lab: Lab, web_over_http: str) -> None:
    """The client's connection is over with the page: the download goes on without it."""
    mark = lab.path()[1]
    page = lab.begin(f"{web_over_http}/wait/gen?size={SIZE}&{mark}")
    lab.scanner.go.set()
    base = web_over_http
    file = lab.ready(base + page)
    assert hashlib.sha256(lab.get(base + file).body).hexdigest() == digest(SIZE)
    assert record(lab.appliance, mark)["reason"] == "ok"


@pytest.fixture
def web_over_http(lab: Lab) -> Iterator[str]:
    with big_origin() as plain:
        plain.go = lab.origin.go
        yield f"http://origin.test:{plain.port}"


# -- parts, and other methods ------------------------------------------------------------------------------------------------


def test_c7_a_download_may_be_resumed_and_is_over_when_all_of_it_was_fetched(lab: Lab) -> None:
    """Range, If-Range and HEAD (RFC 9110 section 14)."""
    path, mark = lab.path()
    page = lab.begin(path)
    lab.scanner.go.set()
    file = lab.ready(page)
    head = lab.get(file, "--head")
    fields = dict(line.split(": ", 1) for line in head.body.decode().split("\r\n") if ": " in line)
    assert (head.status, fields["Content-Length"], fields["Accept-Ranges"]) == (200, str(SIZE), "bytes")
    etag = fields["ETag"]
    first = lab.get(file, "--range", "0-999999")
    assert (first.status, first.headers["content-range"]) == (206, f"bytes 0-999999/{SIZE}")
    assert lab.get(file, "--range", f"{SIZE}-").status == 416
    assert lab.look(page)["state"] == "ready"
    rest = lab.get(file, "--range", "1000000-", "--header", f"If-Range: {etag}")
    assert rest.status == 206
    assert hashlib.sha256(first.body + rest.body).hexdigest() == digest(SIZE)
    event = record(lab.appliance, mark)
    assert (event["reason"], event["bytes_sent"]) == ("ok", SIZE)


def test_c7_a_range_of_another_file_is_answered_with_the_whole(lab: Lab) -> None:
    path, _ = lab.path()
    page = lab.begin(path)
    lab.scanner.go.set()
    answer = lab.get(lab.ready(page), "--range", "5-9", "--header", 'If-Range: "another"')
    assert (answer.status, len(answer.body)) == (200, SIZE)


# -- a download that ends badly ----------------------------------------------------------------------------------------------


@pytest.mark.security
@pytest.mark.parametrize("framing", ["", "&chunked"])
def test_c7_an_infected_file_is_a_block_page(lab: Lab, framing: str) -> None:
    path, mark = lab.path(f"&at={SIZE - 65536}{framing}")
    page = lab.begin(path)
    lab.scanner.go.set()
    wait_until(lambda: lab.get(page, *BROWSER).status == 403, what="the block page")
    answer = lab.get(page, *BROWSER)
    assert b"malware_found" in answer.body
    assert lab.get(page.replace("download?", "download/file?"), *BROWSER).status == 403
    event = record(lab.appliance, mark)
    assert (event["reason"], event["signature"], event["status"]) == ("malware_found", "Eicar-Test", 403)


def test_c7_a_server_that_breaks_off_is_an_error(lab: Lab) -> None:
    path, mark = lab.path(f"&hold={MIB}&stop={MIB}")
    page = lab.begin(path)
    lab.origin.go.set()
    wait_until(lambda: lab.get(page, *BROWSER).status == 502, what="the page says so")
    assert record(lab.appliance, mark)["reason"] == "upstream_closed"


def test_c7_who_leaves_the_page_ends_the_download(lab: Lab) -> None:
    """After the grace period: the scan, the server's transfer, and the file."""
    path, mark = lab.path(f"&hold={MIB}", size=64 * MIB)
    page = lab.begin(path, source=SOURCES["hasty"])
    assert lab.held > 0
    event = record(lab.appliance, mark, tenant_id="hasty")
    assert (event["reason"], event["bytes_sent"]) == ("download_abandoned", 0)
    assert lab.held == 0
    lab.origin.go.set()
    wait_until(lambda: lab.origin.of(mark).broken, what="the origin is cut off")
    assert lab.scanner.bytes_of(mark) == []
    assert lab.look(page, source=SOURCES["hasty"])["state"] == "over"


def test_c7_a_clean_file_that_nobody_fetches_is_removed(lab: Lab) -> None:
    path, mark = lab.path()
    page = lab.begin(path, source=SOURCES["hasty"])
    lab.scanner.go.set()
    file = lab.ready(page, source=SOURCES["hasty"])
    event = record(lab.appliance, mark, tenant_id="hasty")
    assert (event["reason"], event["bytes_sent"]) == ("download_abandoned", 0)
    assert "not fetched" in event["detail"]
    assert lab.held == 0
    assert lab.get(file, source=SOURCES["hasty"]).status == 410


def test_c7_a_client_may_have_so_many_and_waits_for_the_next(lab: Lab) -> None:
    """``per_client``: no page for a further one, which comes as it always did."""
    page = lab.begin(lab.path()[0], source=SOURCES["hasty"])
    path, mark = lab.path(service="/early")
    lab.look(page, source=SOURCES["hasty"])
    answer = lab.get(path.replace("/early", ""), *NAVIGATION, source=SOURCES["hasty"])
    assert (answer.status, len(answer.body)) == (200, SIZE), mark


@pytest.mark.parametrize(
    ("args", "query"),
    [
        ((), ""),
        (("--header", "Accept: */*"), ""),
        ((*BROWSER, "--header", "Sec-Fetch-Mode: no-cors", "--header", "Sec-Fetch-Dest: image"), ""),
        ((*BROWSER, "--header", "Sec-Fetch-Mode: navigate", "--header", "Sec-Fetch-Dest: iframe"), ""),
        ((*BROWSER, "--header", "X-Requested-With: XMLHttpRequest"), ""),
        (NAVIGATION, "&type=text/html"),
    ],
)
def test_c7_what_is_no_person_s_download_waits_as_before(lab: Lab, args: tuple[str, ...], query: str) -> None:
    """A program would take the page for the file."""
    path, _ = lab.path(f"&hold={MIB}{query}", service="")
    threading.Timer(1.0, lab.origin.go.set).start()
    answer = lab.get(path, *args)
    assert (answer.status, hashlib.sha256(answer.body).hexdigest()) == (200, digest(SIZE))


def test_c7_without_the_setting_the_address_is_the_server_s(lab: Lab) -> None:
    answer = lab.get("/.well-known/arcus/download?size=5&ticket=x", source=SOURCES["plain"])
    assert (answer.status, len(answer.body)) == (200, 5)


# -- whose it is -------------------------------------------------------------------------------------------------------------


def refused(lab: Lab) -> list[Any]:
    return [
        each
        for reason in ("download_foreign", "download_invalid")
        for each in records(lab.appliance, "/.well-known/arcus/", reason=reason)
    ]


@pytest.mark.security
@pytest.mark.parametrize("which", ["page", "file"])
def test_c7_nobody_else_gets_it(lab: Lab, which: str) -> None:
    """Another client of the tenant, another tenant, another site; a changed ticket. The client itself still does."""
    path, mark = lab.path()
    page = lab.begin(path)
    lab.scanner.go.set()
    file = lab.ready(page)
    address = page if which == "page" else file
    before = len(refused(lab))
    strangers = [
        lab.get(address, source=NEIGHBOUR),
        lab.get(address, source=SOURCES["other"]),
        lab.get(address, host="second.test"),
    ]
    forged = lab.get(address[:-6] + ("AAAAAA" if not address.endswith("AAAAAA") else "BBBBBB"))
    assert [each.status for each in (*strangers, forged)] == [403] * 4
    assert [each.headers["x-arcus-reason"] for each in strangers] == ["download_foreign"] * 3
    assert forged.headers["x-arcus-reason"] == "download_invalid"
    wait_until(lambda: len(refused(lab)) == before + 4, what="each has a record")
    assert not any("ticket" in each["url"] for each in refused(lab))
    assert hashlib.sha256(lab.get(file).body).hexdigest() == digest(SIZE)
    assert record(lab.appliance, mark)["reason"] == "ok"


def test_c7_a_worker_that_has_ended_takes_its_downloads_with_it(lab: Lab) -> None:
    """Whoever of the two is asked: the page says so, and leads to the original address."""
    pages = [lab.begin(lab.path(f"&hold={MIB}")[0]) for _ in range(3)]
    before = lab.appliance.child_pids("worker")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(lab.appliance.child_pids("worker")) - set(before)) == 2, what="new workers")
    for page in pages:
        answer = wait_until(lambda page=page: _answered(lab, page), what="the page")  # type: ignore[misc]
        assert answer.status == 503
        assert b"was lost" in answer.body
        assert b"/wait/gen?size=" in answer.body


def _answered(lab: Lab, page: str) -> Answer | None:
    answer = lab.get(page, *BROWSER)
    return answer if answer.status else None


def test_c7_both_workers_serve_what_one_of_them_holds(lab: Lab) -> None:
    """Each request is a connection of its own, and the kernel chooses a worker for it."""
    path, mark = lab.path()
    page = lab.begin(path)
    states = {lab.look(page)["state"] for _ in range(16)}
    assert states <= {"receiving", "scanning"}
    lab.scanner.go.set()
    file = lab.ready(page)
    size = 200_000
    parts = [lab.get(file, "--range", f"{at}-{min(at + size, SIZE) - 1}") for at in range(0, SIZE, size)]
    assert {each.status for each in parts} == {206}
    assert hashlib.sha256(b"".join(each.body for each in parts)).hexdigest() == digest(SIZE)
    assert record(lab.appliance, mark)["bytes_sent"] == SIZE


# -- a person ----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_c7_in_a_browser(lab: Lab, tmp_path: Path) -> None:
    """The bar moves, the page refreshes itself without a script, the file is saved; an infected one is the block page."""
    folder = tmp_path / "saved"
    folder.mkdir()
    proxy = f"--proxy-server=http://127.0.0.1:{lab.appliance.port('explicit')}"
    with browser(tmp_path, proxy, ca=lab.appliance.ca()) as person:
        person.save_to(folder)
        base = f"https://origin.test:{lab.origin.port}"
        path, mark = lab.path(f"&hold={MIB}&named=holiday%20film.iso")
        visit = person.open(base + path)
        assert (visit.status, visit.title) == (202, "Your download is on its way")
        person.until("document.querySelector('progress').value > 0")
        person.screenshot("patience-receiving")
        assert person.run("document.documentElement.scrollWidth <= window.innerWidth")
        lab.origin.go.set()
        person.until("document.title == 'Your download is being scanned'")
        person.screenshot("patience-scanning")
        lab.scanner.go.set()
        saved = folder / "holiday film.iso"
        wait_until(lambda: saved.exists() and saved.stat().st_size == SIZE, what="the file is saved")
        assert hashlib.sha256(saved.read_bytes()).hexdigest() == digest(SIZE)
        assert person.run("document.title") == "Your download is clean"
        person.screenshot("patience-clean")
        assert record(lab.appliance, mark)["reason"] == "ok"

        lab.scanner.go.clear()
        bad, _ = lab.path(f"&at={SIZE - 65536}")
        assert person.open(base + bad).status == 202
        lab.scanner.go.set()
        person.until("document.title == 'Dangerous content blocked'")
        person.screenshot("patience-infected")


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_c7_a_link_that_saves_gets_the_file_and_not_the_page(lab: Lab, tmp_path: Path) -> None:
    """``<a download>``: whatever comes is saved under the file's name."""
    folder = tmp_path / "saved"
    folder.mkdir()
    proxy = f"--proxy-server=http://127.0.0.1:{lab.appliance.port('explicit')}"
    with browser(tmp_path, proxy, ca=lab.appliance.ca()) as person:
        person.save_to(folder)
        base = f"https://origin.test:{lab.origin.port}"
        person.open(f"{base}/gen?size=100&type=text/html")
        path, mark = lab.path()
        link = f"Object.assign(document.createElement('a'), {{href: {json.dumps(base + path)}, download: 'linked.iso'}})"
        person.run(f"(() => {{ const link = {link}; document.body.append(link); link.click(); return 1 }})()")
        wait_until(lambda: [each for each in lab.origin.transfers if mark in each.target], what="the request")
        threading.Timer(3.0, lab.scanner.go.set).start()
        saved = folder / "linked.iso"
        wait_until(lambda: saved.exists() and saved.stat().st_size > 0, what="the file is saved")
        wait_until(lambda: hashlib.sha256(saved.read_bytes()).hexdigest() == digest(SIZE), what="the right bytes")
