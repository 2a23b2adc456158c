"""Calls of gRPC through the whole appliance and a real scanner: each message of both directions, as it comes (C7)."""

import contextlib
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e import calls, origins, sockets
from tests.e2e.calls import Call, message
from tests.e2e.running import Running, base_config, running
from tests.ports import free_port
from tests.servers import EICAR, MARKER, clamd

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

HEAD = [("content-type", "application/grpc+proto")]


@dataclass
class Place:
    arcus: Running
    origin: origins.Origin
    server: calls.Server

    @contextlib.contextmanager
    def call(self, path: str, script: Callable[[Call], None], *fields: tuple[str, str]) -> Iterator[Call]:
        self.server.go.clear()
        self.server.over.clear()
        self.server.scripts[path] = script
        host = f"origin.test:{self.origin.port}"
        tunnel = sockets.connect(self.arcus.port("explicit"), host)
        with sockets.tls(tunnel, "origin.test", self.arcus.ca(), alpn=["h2"]) as sock:
            call = Call(sock, client=True)
            call.begin(
                (":method", "POST"),
                (":scheme", "https"),
                (":authority", host),
                (":path", path),
                ("te", "trailers"),
                *HEAD,
                *fields,
            )
            yield call

    def event(self, path: str) -> dict[str, Any]:
        return self.arcus.event(url=f"{self.origin.url}{path}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("grpc")
    trusted, server = origins.authority(directory), calls.Server()
    with contextlib.ExitStack() as stack:
        scanner = stack.enter_context(clamd())
        origin = stack.enter_context(origins.origin(context=trusted.context("origin.test", alpn=("h2",)), hook=server))
        icap = free_port()
        services = {f"icap_{each}_service": f"icap://127.0.0.1:{icap}/{each}" for each in ("reqmod", "respmod")}
        config = base_config(
            directory / "state",
            auditor=[origins.trusting(trusted) | services],
            resolver=[{"name": "local", "type": "system", "hosts": {"origin.test": ["127.0.0.1"]}}],
            icap_server={
                "listen": {"address": f"127.0.0.1:{icap}"},
                "scanner": {"type": "clamd", "tcp": f"127.0.0.1:{scanner.port}"},
            },
        )
        yield Place(stack.enter_context(running(config, directory)), origin, server)


def test_c7_both_sides_talk_message_by_message(place: Place) -> None:
    """Each waits for the other's: nothing is held until the end."""

    def echo(call: Call) -> None:
        call.begin((":status", "200"), *HEAD)
        for number in range(20):
            size = len(message(b"ping %02d" % number))
            call.read(size)
            call.say(call.got)
            call.got = b""
        call.until(lambda call: call.ended)
        call.finish()

    with place.call("/echo", echo) as call:
        for number in range(20):
            call.got, said = b"", message(b"ping %02d" % number)
            call.say(said)
            call.read(len(said))
            assert call.got == said
        call.h2.end_stream(1)
        call._flush()
        call.until(lambda call: call.ended)
        assert (call.ended, call.trailers) == ("end", {"grpc-status": "0"})
    event = place.event("/echo")
    size, trailers = 20 * len(message(b"ping 00")), len(b"grpc-status: 0\r\n")
    assert (event["reason"], event["coverage"]) == ("ok", {"request: scanned": size, "response: scanned": size + trailers})
    assert {each["method"] for each in event["scans"]} == {"REQMOD", "RESPMOD"}


@pytest.mark.security
@pytest.mark.parametrize("packed", [False, True])
def test_c7_an_infected_message_to_the_client_resets_the_stream(place: Place, packed: bool) -> None:
    path = f"/down-{packed}"
    bad = message(gzip.compress(EICAR), packed=True) if packed else message(b"\x0a" + bytes([len(EICAR)]) + EICAR)

    def script(call: Call) -> None:
        call.begin((":status", "200"), ("grpc-encoding", "gzip"), *HEAD)
        call.say(message(b"one"))
        place.server.wait()
        call.say(bad + message(b"after"))
        call.until(lambda call: call.ended == "reset")

    with place.call(path, script) as call:
        call.say(message(b"ask"), end=True)
        call.until(lambda call: call.got)
        assert call.got == message(b"one")
        place.server.go.set()
        call.until(lambda call: call.ended)
        assert (call.ended, call.got) == ("reset", message(b"one"))
    event = place.event(path)
    assert (event["reason"], event["blocked"], event["status"]) == ("malware_found", True, 200)
    assert place.server.over.wait(calls.PATIENCE)
    assert place.server.calls[path].ended == "reset"


@pytest.mark.security
def test_c7_an_infected_message_to_the_server_never_arrives(place: Place) -> None:
    """Cut into two messages; no answer has begun, so the client gets a page."""

    def script(call: Call) -> None:
        call.until(lambda call: call.ended)

    half = len(MARKER) // 2
    clean, bad = message(b"clean"), [message(b"\x0a" + bytes([len(part)]) + part) for part in (MARKER[:half], MARKER[half:])]
    with place.call("/up", script) as call:
        call.say(clean)
        call.say(bad[0])
        call.say(bad[1], end=True)
        call.until(lambda call: call.ended)
        assert call.head[":status"] == "403"
    event = place.event("/up")
    assert (event["reason"], event["blocked"], event["status"]) == ("malware_found", True, 403)
    assert place.server.over.wait(calls.PATIENCE)
    server = place.server.calls["/up"]
    assert bad[1] not in server.got
    assert server.ended == "reset"
    assert event["coverage"]["request: scanned"] == len(server.got)


@pytest.mark.security
def test_c7_a_message_packed_with_what_nobody_said(place: Place) -> None:
    def script(call: Call) -> None:
        call.until(lambda call: call.ended)

    with place.call("/packed", script) as call:
        call.say(message(gzip.compress(b"x"), packed=True), end=True)
        call.until(lambda call: call.ended)
        assert call.head[":status"] == "403"
    assert place.event("/packed")["reason"] == "not_scannable"
    assert place.server.over.wait(calls.PATIENCE)
    assert place.server.calls["/packed"].got == b""


@pytest.mark.security
def test_c7_an_event_stream_over_http_2_goes_on_event_by_event_and_is_reset(place: Place) -> None:
    first, bad = b"data: one\n\n", b"data: " + EICAR + b"\n\n"

    def script(call: Call) -> None:
        call.begin((":status", "200"), ("content-type", "text/event-stream"))
        call.say(first)
        place.server.wait()
        call.say(bad)
        call.until(lambda call: call.ended == "reset")  # the request has ended long ago

    with place.call("/events", script) as call:
        call.h2.end_stream(1)
        call._flush()
        call.read(len(first))
        assert call.got == first
        place.server.go.set()
        call.until(lambda call: call.ended)
        assert (call.ended, call.got) == ("reset", first)
    assert place.event("/events")["reason"] == "malware_found"
