"""Streams without an end through the whole appliance and a real scanner: unit by unit, at once, ended when one is infected."""

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import origins, sockets, streams
from tests.e2e.running import Running, base_config, running
from tests.e2e.streams import Client, Talk
from tests.ports import free_port
from tests.servers import EICAR, MARKER, clamd

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

SOURCES = {"scan": "127.0.0.2", "small": "127.0.0.3", "pauses": "127.0.0.4", "away": "127.0.0.5", "awaypass": "127.0.0.6"}


@dataclass
class Place:
    arcus: Running
    origin: origins.Origin
    streamer: streams.Streamer

    @contextlib.contextmanager
    def open(self, path: str, script: streams.Script, tenant: str = "scan") -> Iterator[Client]:
        self.streamer.go.clear()
        self.streamer.scripts[path] = script
        host = f"origin.test:{self.origin.port}"
        tunnel = sockets.connect(self.arcus.port("explicit"), host, source=SOURCES[tenant])
        with sockets.tls(tunnel, "origin.test", self.arcus.ca()) as sock:
            yield Client.ask(sock, host, path)

    def event(self, path: str) -> dict[str, Any]:
        return self.arcus.event(url=f"{self.origin.url}{path}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("event-streams")
    trusted, streamer = origins.authority(directory), streams.Streamer()
    with contextlib.ExitStack() as stack:
        scanner = stack.enter_context(clamd())
        origin = stack.enter_context(origins.origin(context=trusted.context("origin.test"), hook=streamer))
        config = _config(directory / "state", origins.trusting(trusted), scanner.port)
        yield Place(stack.enter_context(running(config, directory)), origin, streamer)


def _config(state: Path, trusting: dict[str, object], scanner: int) -> dict[str, object]:
    icap, nobody = free_port(), free_port()
    services = {f"icap_{each}_service": f"icap://127.0.0.1:{icap}/{each}" for each in ("reqmod", "respmod")}
    gone = {
        f"icap_{each}_service": f"icap://127.0.0.1:{icap if each == 'reqmod' else nobody}/{each}"
        for each in ("reqmod", "respmod")
    }
    auditors = [
        trusting | services | {"name": "scan"},
        trusting | services | {"name": "small", "max_message_size": "10K"},
        trusting | services | {"name": "pauses", "stream_units": {"pause": "300ms"}},
        trusting | gone | {"name": "away"},
        trusting | gone | {"name": "awaypass", "icap_on_error": "bypass"},
    ]
    default = {"tenant_id": "default", "ca": "default", "auditor": "scan", "escaper": "direct"}
    tenants = [default | {"tenant_id": n, "auditor": n, "match": {"networks": [f"{ip}/32"]}} for n, ip in SOURCES.items()]
    return base_config(
        state,
        auditor=auditors,
        tenant=[default, *tenants],
        quarantine={"tenants": ["scan"]},
        resolver=[{"name": "local", "type": "system", "hosts": {"origin.test": ["127.0.0.1"]}}],
        icap_server={"listen": {"address": f"127.0.0.1:{icap}"}, "scanner": {"type": "clamd", "tcp": f"127.0.0.1:{scanner}"}},
    )


def events(*texts: bytes) -> bytes:
    return b"".join(b"data: " + text + b"\n\n" for text in texts)


def test_c7_the_first_event_is_there_before_the_server_has_the_second(place: Place) -> None:
    """And a hundred of them come as they were sent, byte for byte."""
    first, rest = b": hello\r\n\r\n" + events(b"0"), b"".join(b"id: %d\nevent: tick\ndata: %d\n\n" % (n, n) for n in range(100))

    def script(talk: Talk) -> None:
        talk.begin("text/event-stream; charset=utf-8")
        talk.say(first)
        talk.wait()
        for at in range(0, len(rest), 7):
            talk.say(rest[at : at + 7])
        talk.end()

    with place.open("/first", script) as client:
        assert client.status == 200
        assert client.expect(len(first)) == first
        place.streamer.go.set()
        assert client.rest() == (rest, True)
    event = place.event("/first")
    assert (event["reason"], event.get("not_scanned"), event["bytes_sent"]) == ("ok", None, len(first + rest))
    assert event["coverage"] == {"response: scanned": len(first + rest)}


@pytest.mark.security
@pytest.mark.parametrize(
    ("name", "pieces"),
    [
        ("whole", [events(EICAR)]),
        ("two-events", [events(EICAR[:30]), events(EICAR[30:])]),
        ("two-events-at-once", [events(EICAR[:30], EICAR[30:])]),
        ("two-lines", [b"data: " + EICAR[:30] + b"\ndata: " + EICAR[30:] + b"\n\n"]),
        ("three-events", [events(MARKER[:5]), events(MARKER[5:9]), events(MARKER[9:])]),
        ("comment", [b": " + MARKER + b"\n\n"]),
        ("unended", [b"data: " + EICAR]),
    ],
)
def test_c7_an_infected_event_ends_the_stream(place: Place, name: str, pieces: list[bytes]) -> None:
    clean = events(b"before")

    def script(talk: Talk) -> None:
        talk.begin("text/event-stream")
        talk.say(clean)
        talk.wait()
        for piece in pieces:
            talk.say(piece)
        talk.end() if name == "unended" else None
        place.streamer.gone.set() if talk.cut_off() else None

    place.streamer.gone.clear()
    with place.open(f"/infected-{name}", script) as client:
        assert client.expect(len(clean)) == clean
        place.streamer.go.set()
        got, whole = client.rest()
    assert not whole
    assert EICAR not in got.replace(b"\n\ndata: ", b"")
    assert MARKER not in got.replace(b"\n\ndata: ", b"")
    event = place.event(f"/infected-{name}")
    assert (event["reason"], event["blocked"], event["status"]) == ("malware_found", True, 200)
    assert event["quarantine"]
    assert event["coverage"] == {"response: scanned": len(clean + got)}
    assert place.streamer.gone.wait(streams.PATIENCE)


@pytest.mark.security
@pytest.mark.parametrize("kind", ["gzip", "deflate"])
def test_c7_a_packed_stream_is_unpacked_for_its_scan_and_goes_on_packed(place: Place, kind: str) -> None:
    pack = zlib.compressobj(wbits=31 if kind == "gzip" else 15)
    first = pack.compress(events(b"one", b"two")) + pack.flush(zlib.Z_SYNC_FLUSH)
    second = pack.compress(events(EICAR)) + pack.flush(zlib.Z_SYNC_FLUSH)

    def script(talk: Talk) -> None:
        talk.begin("text/event-stream", f"Content-Encoding: {kind}")
        talk.say(first)
        talk.wait()
        talk.say(second)
        talk.cut_off()

    with place.open(f"/packed-{kind}", script) as client:
        assert client.expect(len(first)) == first
        place.streamer.go.set()
        assert client.rest() == (b"", False)
    assert place.event(f"/packed-{kind}")["reason"] == "malware_found"


def test_c7_a_bomb_is_refused(place: Place) -> None:
    bomb = gzip.compress(b"data: " + b"\0" * 20_000_000)

    def script(talk: Talk) -> None:
        talk.begin("text/event-stream", "Content-Encoding: gzip")
        talk.say(bomb)
        talk.cut_off()

    with place.open("/bomb", script) as client:
        assert client.rest() == (b"", False)
    assert place.event("/bomb")["reason"] in ("not_scannable", "body_too_large")


def test_c7_an_event_at_the_limit_passes_and_one_above_it_does_not(place: Place) -> None:
    at, above = events(b"x" * 10_240), events(b"y" * 10_241)

    def script(talk: Talk) -> None:
        talk.begin("text/event-stream")
        talk.say(at)
        talk.say(above)
        talk.cut_off()

    with place.open("/limit", script, tenant="small") as client:
        assert client.rest() == (at, False)
    assert place.event("/limit")["reason"] == "body_too_large"


@pytest.mark.parametrize(
    ("kind", "pieces"),
    [
        ("application/x-ndjson", [b'{"a": 1}\n', b'{"b": 2}\n{"c": 3}\n']),
        (
            "multipart/x-mixed-replace; boundary=cut",
            [
                b"--cut\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\none",
                b"\r\n--cut\r\nContent-Length: 3\r\n\r\ntwo",
            ],
        ),
    ],
)
@pytest.mark.security
def test_c7_lines_and_parts(place: Place, kind: str, pieces: list[bytes]) -> None:
    infected = EICAR + b"\n" if "json" in kind else b"\r\n--cut\r\nContent-Length: %d\r\n\r\n" % len(EICAR) + EICAR

    def script(talk: Talk) -> None:
        talk.begin(kind)
        for piece in pieces:
            talk.say(piece)
            talk.wait()
        talk.say(infected)
        talk.cut_off()

    path = f"/kinds-{kind[:11]}"
    with place.open(path, script) as client:
        for piece in pieces:
            assert client.expect(len(piece)) == piece
            place.streamer.go.set()
        got, whole = client.rest()
    assert (EICAR in got, whole) == (False, False)
    assert place.event(path)["reason"] == "malware_found"


def test_c7_a_scanner_that_is_away(place: Place) -> None:
    """The policy of the service decides, about each event."""

    def script(talk: Talk) -> None:
        talk.begin("text/event-stream")
        talk.say(events(b"one"))
        talk.end()

    with place.open("/away", script, tenant="away") as client:
        assert client.rest() == (b"", False)
    assert place.event("/away")["reason"].startswith("icap_")
    with place.open("/awaypass", script, tenant="awaypass") as client:
        assert client.rest() == (events(b"one"), True)
    event = place.event("/awaypass")
    assert (event["reason"], event["coverage"]) == ("ok", {"response: not_scanned scan_failed": len(events(b"one"))})


def test_c7_a_body_that_pauses_goes_on_where_the_policy_says_so(place: Place) -> None:
    """Of no known length and of no known kind: what has come is judged at each pause; otherwise it waits for its end."""
    lines = [b"first line\n", b"second\n", b"half a "]

    def script(talk: Talk) -> None:
        talk.begin("text/plain")
        for line in lines:
            talk.say(line)
            talk.wait()
        talk.say(EICAR)
        talk.cut_off()

    with place.open("/pauses", script, tenant="pauses") as client:
        for line in lines:
            assert client.expect(len(line)) == line
            place.streamer.go.set()
        assert client.rest() == (b"", False)
    event = place.event("/pauses")
    assert (event["reason"], event["coverage"]) == ("malware_found", {"response: scanned": len(b"".join(lines))})


def test_c7_a_body_that_does_not_pause_is_held_as_any_other(place: Place) -> None:
    def script(talk: Talk) -> None:
        talk.begin("text/plain")
        talk.say(b"one")
        talk.end()

    with place.open("/no-pause", script, tenant="pauses") as client:
        assert b"chunked" not in client.head
        assert client._buffer or client.sock.recv(10)
    assert place.event("/no-pause")["coverage"] == {"response: scanned": 3}


def test_c7_a_client_that_leaves_ends_the_transfer(place: Place) -> None:
    def script(talk: Talk) -> None:
        talk.begin("text/event-stream")
        talk.say(events(b"one"))
        place.streamer.gone.set() if talk.cut_off() else None

    place.streamer.gone.clear()
    with place.open("/left", script) as client:
        assert client.expect(len(events(b"one"))) == events(b"one")
    assert place.streamer.gone.wait(streams.PATIENCE)
    assert place.event("/left")["reason"] == "client_closed"


@pytest.mark.security
@pytest.mark.parametrize("kind", ["text/event-stream", "text/plain"])
@pytest.mark.parametrize("bad", [False, True])
def test_c7_trailers_are_judged_before_the_end_goes_out(place: Place, kind: str, bad: bool) -> None:
    trailer = b"X-Note: " + (MARKER if bad else b"fine")

    def script(talk: Talk) -> None:
        talk.begin(kind)
        talk.say(events(b"one"))
        talk.end(trailer + b"\r\n")

    path = f"/trailers-{kind[5:]}-{bad}"
    with place.open(path, script) as client:
        raw = client._buffer
        with contextlib.suppress(OSError):
            while client.status == 200 and b"0\r\nX-Note: fine\r\n\r\n" not in raw and (piece := client.sock.recv(65536)):
                raw += piece
    assert MARKER not in raw
    event = place.event(path)
    assert (event["reason"], event["status"]) == (
        ("malware_found", 403 if kind == "text/plain" else 200) if bad else ("ok", 200)
    )
    if not bad:
        size = len(events(b"one")) + len(trailer) + 2
        assert (event["bytes_sent"], event["coverage"]) == (size, {"response: scanned": size})
