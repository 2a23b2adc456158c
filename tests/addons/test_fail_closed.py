"""A hook that raises, or that does not come to an end, stops the task: for every hook of every addon.

The worker is the real one, in a thread of this process, so that a single hook can be made to fail.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from addons.access import Access
from addons.adapt import Adapt
from addons.forge import Forge
from addons.headers import Headers
from addons.identify import Identify
from addons.keeping import Keeping
from addons.parent import Parent
from addons.record import Record
from addons.upstream_tls import UpstreamTls
from appliance.app import worker as worker_module
from appliance.app.parts import authorities
from appliance.app.paths import StatePaths
from appliance.config.load import load
from appliance.config.root import AppConfig
from appliance.engine.hooks import HOOKS
from tests.e2e import origins, sockets, websocket
from tests.e2e.running import base_config, wait_until
from tests.icap.server.serving import serving

pytestmark = [pytest.mark.security, pytest.mark.xdist_group("fail_closed")]

SECRET = b"only-who-was-judged-may-read-this"
ADDONS = (Identify, Access, Parent, Adapt, Headers, UpstreamTls, Forge, Keeping, Record)
PAIRS = [(addon.__name__, hook) for addon in ADDONS for hook in HOOKS if hasattr(addon, hook)]
SYSTEM_ROOTS = Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")
MESSAGE_HOOKS = ("requestheaders", "request", "responseheaders", "response")
TLS_HOOKS = ("tls_start", "tls_established")
BEFORE_THE_SERVER = ("requestheaders", "request", "tls_start_client", "tls_start_server", "tls_established_server")


@dataclass
class Fault:
    """Which hook fails, how, and how often it did."""

    addon: str = ""
    hook: str = ""
    how: str = ""
    hits: int = 0

    def set(self, addon: str, hook: str, how: str) -> None:
        self.addon, self.hook, self.how, self.hits = addon, hook, how, 0


class Faulty:
    """An addon whose hooks fail when told to."""

    def __init__(self, addon: object, fault: Fault) -> None:
        for name in HOOKS:
            hook = getattr(addon, name, None)
            if hook is not None:
                setattr(self, name, _guarded(hook, type(addon).__name__, name, fault))


def _guarded(hook: Callable[..., Any], addon: str, name: str, fault: Fault) -> Callable[..., Any]:
    def run(*args: object) -> Awaitable[None] | None:
        if (fault.addon, fault.hook) != (addon, name):
            found: Awaitable[None] | None = hook(*args)
            return found
        fault.hits += 1
        if fault.how == "raises":
            raise RuntimeError("made to fail")
        return _late(fault.how)

    return run


async def _late(how: str) -> None:
    await asyncio.sleep(0 if how == "raises later" else 3600)
    raise RuntimeError("made to fail")


@dataclass
class Place:
    port: int
    state: Path
    fault: Fault
    secure: origins.Origin
    plain: origins.Origin
    untrusted: origins.Origin
    talking: origins.Origin
    said: list[bytes] = field(default_factory=list)

    @property
    def ca(self) -> Path:
        return self.state / "ca" / "default" / "ca.pem"

    def records(self) -> list[dict[str, Any]]:
        lines = [line for path in sorted(StatePaths(self.state).spool.rglob("*")) if path.is_file() for line in _lines(path)]
        return [json.loads(line) for line in lines]


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(errors="replace").splitlines() if line.startswith("{") and line.endswith("}")]


@pytest.fixture(scope="module", params=["held", "streamed"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """``held``: bodies wait for a scan. ``streamed``: without a service they pass piece by piece."""
    directory = tmp_path_factory.mktemp(f"closed-{request.param}")
    trusted, other = origins.authority(directory), origins.authority(directory / "other")
    respond = lambda _: origins.answer(SECRET)  # noqa: E731
    said: list[bytes] = []
    with (
        origins.origin(respond, trusted.context()) as secure,
        origins.origin(respond) as plain,
        origins.origin(respond, other.context()) as untrusted,
        origins.origin(context=trusted.context(), hook=lambda sock: _listen(sock, said)) as talking,
        _worker(directory, trusted, request.param == "held") as (port, fault),
    ):
        yield Place(port, directory / "state", fault, secure, plain, untrusted, talking, said)


def _listen(sock: Any, said: list[bytes]) -> None:
    """A WebSocket server that writes down what it is told."""

    class Heard:
        def recv(self, size: int) -> bytes:
            data: bytes = sock.recv(size)
            said.append(data)
            return data

        sendall = sock.sendall

    websocket.echo(Heard())  # type: ignore[arg-type]


@contextlib.contextmanager
def _worker(directory: Path, trusted: origins.Authority, held: bool) -> Iterator[tuple[int, Fault]]:
    fault = Fault()
    ready: list[int] = []
    stop: list[Callable[[], None]] = []
    thread = threading.Thread(target=lambda: asyncio.run(_serve(directory, trusted, held, fault, ready, stop)), daemon=True)
    thread.start()
    wait_until(lambda: ready or not thread.is_alive(), 30, "the worker serves")
    try:
        yield ready[0], fault
    finally:
        stop[0]()
        thread.join(20)


async def _serve(
    directory: Path, trusted: origins.Authority, held: bool, fault: Fault, ready: list[int], stop: list[Callable[[], None]]
) -> None:
    async with serving() as icap:
        service = f"icap://127.0.0.1:{icap.port}/"
        both = {"icap_reqmod_service": service + "reqmod", "icap_respmod_service": service + "respmod", "icap_health": None}
        scans = both if held else {}
        auditor: dict[str, Any] = origins.trusting(trusted, **scans)
        auditor["tls_interception"]["kept_connections"] = {"enabled": False}  # each fault meets a handshake of its own
        config = _config(directory, auditor)
        build = worker_module._Build(config, 0)
        build._addons = _faulty(build, fault)  # type: ignore[method-assign]
        build._hook_budget = lambda: 0.5  # type: ignore[method-assign]
        listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        port = listening.getsockname()[1]
        worker = build.worker({"explicit": listening})
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(ended.set) and None)
        serving_task = asyncio.create_task(worker.run(ended, lambda: 0.0))
        ready.append(port)
        await serving_task
        await build.close()


def _faulty(build: Any, fault: Fault) -> Callable[[Record], list[object]]:
    make = build._addons
    return lambda record: [Faulty(addon, fault) for addon in make(record)]


def _config(directory: Path, auditor: dict[str, object]) -> AppConfig:
    path = directory / "arcus.yaml"
    sections = base_config(directory / "state", auditor=[auditor], ca=[{"name": "default", "signer": "in_process"}])
    del sections["admin"]
    with path.open("w") as file:
        YAML(typ="safe").dump(sections, file)
    config = load(path).config
    StatePaths(config.state_dir).create()
    authorities(config)
    return config


# -- what a client gets --


def plain_get(place: Place) -> bytes:
    place.plain.clear()
    head = f"GET http://origin.test:{place.plain.port}/x HTTP/1.1\r\nHost: origin.test:{place.plain.port}\r\n"
    return sockets.exchange(place.port, f"{head}Connection: close\r\n\r\n".encode())


def secure_get(place: Place, origin: origins.Origin | None = None, trusting: bool = True) -> bytes:
    origin = origin or place.secure
    origin.clear()
    try:
        tunnel = sockets.connect(place.port, f"origin.test:{origin.port}")
        with sockets.tls(tunnel, "origin.test", place.ca if trusting else SYSTEM_ROOTS) as sock:
            sock.sendall(f"GET /x HTTP/1.1\r\nHost: origin.test:{origin.port}\r\nConnection: close\r\n\r\n".encode())
            return sockets.read_all(sock)
    except OSError as error:
        return f"no connection: {error}".encode()


def talk(place: Place) -> str | bytes | None:
    place.said.clear()
    target = f"origin.test:{place.talking.port}"
    with contextlib.suppress(OSError), sockets.tls(sockets.connect(place.port, target), "origin.test", place.ca) as sock:
        client = websocket.Client(sock, target)
        reply = client.ask(SECRET) if client.status == 101 else None
        client.close()
        return reply
    return None


def test_without_a_fault_everything_passes(place: Place) -> None:
    """The other tests show something: the same clients get the body when nothing fails."""
    place.fault.set("", "", "")
    assert SECRET in plain_get(place)
    assert SECRET in secure_get(place)
    assert talk(place) == SECRET


@pytest.mark.parametrize("how", ["raises", "raises later"])
@pytest.mark.parametrize(("addon", "hook"), [pair for pair in PAIRS if pair[1] in MESSAGE_HOOKS])
def test_failing_message_hook_stops_http(place: Place, request: pytest.FixtureRequest, addon: str, hook: str, how: str) -> None:
    place.fault.set(addon, hook, how)
    got = plain_get(place)
    assert place.fault.hits
    _stopped(place, request, hook, got, place.plain)


@pytest.mark.parametrize("how", ["raises", "raises later"])
@pytest.mark.parametrize(
    ("addon", "hook"), [pair for pair in PAIRS if pair[1] in MESSAGE_HOOKS or pair[1].startswith(TLS_HOOKS)]
)
def test_failing_hook_stops_https(place: Place, request: pytest.FixtureRequest, addon: str, hook: str, how: str) -> None:
    place.fault.set(addon, hook, how)
    got = secure_get(place)
    assert place.fault.hits
    _stopped(place, request, hook, got, place.secure)


def _stopped(place: Place, request: pytest.FixtureRequest, hook: str, got: bytes, origin: origins.Origin) -> None:
    if hook in BEFORE_THE_SERVER:
        assert not origin.requests
    streamed = "streamed" in request.node.callspec.id
    if hook == "response" and streamed:
        # Judged and passed on piece by piece before this hook; what failed is the end. It must not look like a good one.
        assert place.records()[-1]["reason"] == "internal_error"
        return
    assert SECRET not in got
    assert wait_until(lambda: [event for event in place.records() if event["reason"] == "internal_error"], 5, "a record")


@pytest.mark.parametrize("hook", MESSAGE_HOOKS)
def test_hook_that_never_ends_stops_the_task(place: Place, request: pytest.FixtureRequest, hook: str) -> None:
    """Its budget is half a second here."""
    place.fault.set("Record" if hook == "response" else "Adapt" if hook != "requestheaders" else "Access", hook, "hangs")
    got = plain_get(place)
    assert place.fault.hits
    _stopped(place, request, hook, got, place.plain)


@pytest.mark.parametrize("how", ["raises", "raises later"])
@pytest.mark.parametrize(("addon", "hook"), [pair for pair in PAIRS if pair[1] in ("tls_failed_server", "error")])
def test_failing_failure_hook_still_stops(place: Place, addon: str, hook: str, how: str) -> None:
    """A server that is not trusted, and the hook that would say so fails as well."""
    place.fault.set(addon, hook, how)
    got = secure_get(place, place.untrusted)
    assert place.fault.hits
    assert SECRET not in got
    assert not place.untrusted.requests


@pytest.mark.parametrize(("addon", "hook"), [pair for pair in PAIRS if pair[1] == "tls_failed_client"])
def test_failing_tls_failed_client_ends_the_connection(place: Place, addon: str, hook: str) -> None:
    place.fault.set(addon, hook, "raises")
    assert secure_get(place, trusting=False).startswith(b"no connection")
    wait_until(lambda: place.fault.hits, 5, "the hook ran")
    assert not place.secure.requests


@pytest.mark.parametrize("how", ["raises", "raises later"])
@pytest.mark.parametrize(("addon", "hook"), [pair for pair in PAIRS if pair[1] == "websocket_message"])
def test_failing_websocket_hook_stops_the_message(place: Place, addon: str, hook: str, how: str) -> None:
    place.fault.set(addon, hook, how)
    assert talk(place) is None
    assert place.fault.hits
    asked = b"".join(place.said)
    assert asked.endswith(b"\r\n\r\n"), "the message reached the server after the handshake"


@pytest.mark.parametrize(("addon", "hook"), [pair for pair in PAIRS if pair[1] == "websocket_end"])
def test_failing_websocket_end_leaves_a_record(place: Place, addon: str, hook: str) -> None:
    before = len(place.records())
    place.fault.set(addon, hook, "raises")
    talk(place)
    wait_until(lambda: place.fault.hits, 5, "the hook ran")
    wait_until(lambda: len(place.records()) > before, 5, "a record")


def test_every_hook_of_every_addon_was_asked() -> None:
    """A hook of a kind that no test here drives must not slip in."""
    driven = {*MESSAGE_HOOKS, "tls_start_client", "tls_start_server", "tls_established_client", "tls_established_server"}
    driven |= {"tls_failed_client", "tls_failed_server", "error", "websocket_message", "websocket_end"}
    assert {hook for _, hook in PAIRS} <= driven
