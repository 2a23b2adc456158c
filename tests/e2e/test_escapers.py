"""Ways out through real parents: squid as an HTTP and as an HTTPS proxy, a SOCKS5 server, and none at all."""

import asyncio
import base64
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import origins
from tests.e2e.running import Answer, Running, base_config, running, wait_until
from tests.proxies import Peer, SocksParent, socks5_parent, squid

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-escapers")]

WAYS = ("http", "refused", "https", "wrong-ca", "names", "addresses", "no-auth", "dead", "nowhere")
HOSTS = {f"{way}.test": ["127.0.0.1"] for way in WAYS}
"""Which host goes out by which way."""


@dataclass
class Place:
    arcus: Running
    squid: Peer
    socks: SocksParent
    plain: origins.Origin
    secure: origins.Origin

    def ask(self, way: str, path: str = "/", *, secure: bool = False) -> Answer:
        origin = self.secure if secure else self.plain
        origin.clear()
        scheme = "https" if secure else "http"
        return self.arcus.curl("--cacert", self.arcus.ca(), f"{scheme}://{way}.test:{origin.port}{path}")

    def event(self, way: str, path: str, *, secure: bool = False) -> dict[str, Any]:
        origin, scheme = (self.secure, "https") if secure else (self.plain, "http")
        return self.arcus.event(url=f"{scheme}://{way}.test:{origin.port}{path}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("escapers")
    trusted = origins.authority(directory)
    (directory / "other").mkdir()
    other = origins.authority(directory / "other")
    hosts = dict.fromkeys(HOSTS, "127.0.0.1")
    with (
        squid(users={"gw": "secret"}, hosts=hosts, tls=trusted.files("parent.test", "127.0.0.1")) as parent,
        _socks({"gw": "secret"}, hosts) as socks,
        origins.origin() as plain,
        origins.origin(context=trusted.context(*HOSTS)) as secure,
        running(_config(directory, trusted, other, parent, socks), directory) as arcus,
    ):
        yield Place(arcus, parent, socks, plain, secure)


@contextlib.contextmanager
def _socks(users: dict[str, str], hosts: dict[str, str]) -> Iterator[SocksParent]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    manager = socks5_parent(users=users, hosts=hosts)
    try:
        yield asyncio.run_coroutine_threadsafe(manager.__aenter__(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(manager.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _anew(trusted: origins.Authority) -> dict[str, Any]:
    """Each request by a way of its own: a parent logs a tunnel when it ends."""
    auditor: dict[str, Any] = origins.trusting(trusted)
    auditor["tls_interception"]["kept_connections"] = {"enabled": False}
    return auditor


def _config(
    directory: Path, trusted: origins.Authority, other: origins.Authority, parent: Peer, socks: SocksParent
) -> dict[str, Any]:
    auth = {"auth": {"username": "gw", "password": "secret"}}
    wrong = {"auth": {"username": "gw", "password": "wrong"}}
    http, https = {"proxy_addr": f"127.0.0.1:{parent.port}"}, {"proxy_addr": f"127.0.0.1:{parent.tls_port}"}
    over = {"proxy_addr": f"127.0.0.1:{socks.port}"}
    names = {"ca_certificate": str(trusted.pem), "server_name": "parent.test"}
    escapers = [
        {"name": "http", "type": "proxy_http", **http, **auth},
        {"name": "refused", "type": "proxy_http", **http, **wrong},
        {"name": "https", "type": "proxy_https", **https, **auth, "tls_client": names},
        {"name": "wrong-ca", "type": "proxy_https", **https, **auth, "tls_client": names | {"ca_certificate": str(other.pem)}},
        {"name": "names", "type": "proxy_socks5", **over, **auth},
        {"name": "addresses", "type": "proxy_socks5", **over, **auth, "resolve_locally": True, "resolver": "local"},
        {"name": "no-auth", "type": "proxy_socks5", **over},
        {"name": "dead", "type": "proxy_http", "proxy_addr": "127.0.0.1:1"},
        {"name": "nowhere", "type": "dummy_deny"},
    ]
    rules = [{"exact_match": f"{way}.test", "next": way} for way in WAYS]
    router = {"name": "router", "type": "route_upstream", "rules": rules, "fallback_next": "nowhere"}
    return base_config(
        directory / "state",
        auditor=[_anew(trusted)],
        resolver=[{"name": "local", "type": "system", "hosts": {"addresses.test": ["127.0.0.1"]}}],
        escaper=[router, *escapers],
        tenant=[{"tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "router"}],
    )


WORD = "Basic " + base64.b64encode(b"gw:secret").decode()


@pytest.mark.parametrize("way", ["http", "https"])
def test_esc_08_esc_09_plain_http_goes_in_absolute_form(place: Place, way: str) -> None:
    """The parent sees the URL and our credentials, the origin sees neither."""
    assert place.ask(way, "/absolute").status == 200
    line = place.squid.log(f"{way}.test:{place.plain.port}/absolute")[-1]
    assert " GET http://" in line
    assert " 200 gw " in line
    assert WORD in line
    seen = place.plain.requests[-1]
    assert (seen.path, seen.values("proxy-authorization")) == ("/absolute", [])
    event = place.event(way, "/absolute")
    assert event["escape"]["path"] == ["router", way]
    assert event["escape"]["rules"][0].endswith(f"exact_match {way}.test")


@pytest.mark.parametrize("way", ["http", "https"])
def test_esc_08_esc_09_tls_goes_through_connect(place: Place, way: str) -> None:
    assert place.ask(way, "/tunnel", secure=True).status == 200
    line = place.squid.log(f"CONNECT {way}.test:{place.secure.port}")[-1]
    assert " gw " in line
    event = place.event(way, "/tunnel", secure=True)
    assert (event["escape"]["path"], event["server_tls"]["verify"]) == (["router", way], "ok")


def test_esc_08_one_client_connection_many_requests_to_a_parent(place: Place) -> None:
    url = f"http://http.test:{place.plain.port}/again"
    got = place.arcus.curl("-o", "/dev/null", "-o", "/dev/null", url, url)
    assert (got.status, got.info["num_connects"]) == (200, 0)
    wait_until(lambda: len(place.squid.log("/again")) == 2, 10, "both requests")


@pytest.mark.parametrize("secure", [False, True])
def test_esc_08_refused_credentials_are_named(place: Place, secure: bool) -> None:
    """The parent's 407 is ours to handle: the client is not asked for a password that is not its own."""
    got = place.ask("refused", "/refused", secure=secure)
    assert got.status == 502
    assert "proxy-authenticate" not in got.headers
    assert place.event("refused", "/refused", secure=secure)["reason"] == "upstream_auth_failed"
    assert not (place.secure if secure else place.plain).accepted


@pytest.mark.security
@pytest.mark.parametrize("secure", [False, True])
def test_esc_09_parent_with_another_authority_is_not_used(place: Place, secure: bool) -> None:
    got = place.ask("wrong-ca", "/wrong", secure=secure)
    assert got.status == 502
    event = place.event("wrong-ca", "/wrong", secure=secure)
    assert event["reason"].startswith(("upstream_cert", "upstream_tls"))
    assert not place.squid.log("wrong-ca.test", seconds=0.3)


@pytest.mark.parametrize(("way", "kind", "host"), [("names", 3, "names.test"), ("addresses", 1, "127.0.0.1")])
@pytest.mark.parametrize("secure", [False, True])
def test_esc_10_socks_parent_sees_a_name_or_an_address(place: Place, way: str, kind: int, host: str, secure: bool) -> None:
    """ESC-10: by option; with user and password."""
    place.socks.requests.clear()
    assert place.ask(way, "/socks", secure=secure).status == 200
    port = (place.secure if secure else place.plain).port
    assert (kind, host, port, "gw") in place.socks.requests
    assert place.event(way, "/socks", secure=secure)["escape"]["path"] == ["router", way]


def test_esc_10_socks_parent_that_wants_a_password(place: Place) -> None:
    assert place.ask("no-auth", "/no-auth").status == 502
    assert place.event("no-auth", "/no-auth")["reason"] == "upstream_auth_failed"


def test_esc_08_parent_that_is_not_there(place: Place) -> None:
    assert place.ask("dead", "/dead").status == 502
    event = place.event("dead", "/dead")
    assert (event["reason"], event["escape"]["path"]) == ("connect_refused", ["router", "dead"])


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("host", ["nowhere.test", "no-such-name.invalid"])
def test_esc_19_dummy_deny(place: Place, host: str, secure: bool) -> None:
    """A page, also over HTTPS; no name is resolved: the second host has no address anywhere."""
    origin = place.secure if secure else place.plain
    origin.clear()
    scheme = "https" if secure else "http"
    got = place.arcus.curl("--cacert", place.arcus.ca(), f"{scheme}://{host}:{origin.port}/denied")
    assert got.status == 403
    event = place.arcus.event(url=f"{scheme}://{host}:{origin.port}/denied")
    assert (event["reason"], event["escape"]["path"]) == ("denied_by_escaper", ["router", "nowhere"])
    assert "resolved_ip" not in event["escape"]
    assert not origin.accepted
