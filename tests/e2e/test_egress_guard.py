"""Where nobody is to be led: loopback, metadata, private networks, and the appliance itself, however they are written."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e import origins, sockets
from tests.e2e.running import Running, base_config, running
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.security, pytest.mark.xdist_group("e2e-guard")]

NAMES = {
    "inner.test": ["127.0.0.1"],
    "metadata.test": ["169.254.169.254"],
    "private.test": ["10.1.2.3"],
    "mixed.test": ["127.0.0.1", "169.254.169.254"],
    "six.test": ["::1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "open.test": ["127.0.0.50"],
}


@dataclass
class Place:
    guarded: Running
    inner: origins.Origin
    allowed: origins.Origin
    proxied: int


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Tenant default reaches 127.0.0.50 and nothing else that is not public; tenant wide may go anywhere on loopback."""
    directory = tmp_path_factory.mktemp("guard")
    trusted = origins.authority(directory)
    icap = free_port()
    config = base_config(
        directory / "state",
        auditor=[origins.trusting(trusted)],
        resolver=[{"name": "local", "type": "system", "hosts": NAMES, "timeout": "2s"}],
        escaper=[
            {
                "name": "direct", "type": "direct_fixed", "resolver": "local", "connect_timeout": "2s",
                "egress_network_filter": {"allow": ["127.0.0.50/32"]},
            },
            {
                "name": "wide", "type": "direct_fixed", "resolver": "local",
                "egress_network_filter": {"allow": ["127.0.0.0/8", "::1/128"]},
            },
        ],
        tenant=[
            {"tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "direct"},
            {
                "tenant_id": "wide", "ca": "default", "auditor": "inspect", "escaper": "wide",
                "match": {"networks": ["127.0.3.0/24"]},
            },
        ],
        icap_server={"listen": {"address": f"127.0.0.1:{icap}"}, "scanner": {"type": "clamd", "tcp": "127.0.0.1:1"}},
    )  # fmt: skip
    with (
        origins.origin() as inner,
        origins.origin(host="127.0.0.50") as allowed,
        running(config, directory) as guarded,
    ):
        yield Place(guarded, inner, allowed, icap)


HOSTS = [
    "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1.", "0.0.0.0", "0", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "inner.test", "six.test", "mapped.test",
    "mixed.test",
    "169.254.169.254", "metadata.test", "[fe80::1]", "[fd00:ec2::254]", "10.1.2.3", "private.test", "192.168.0.1", "172.16.0.1",
    "100.64.0.1", "224.0.0.1", "255.255.255.255", "127.0.0.49", "127.0.0.51", "LOCALHOST", "inner.test.",
]  # fmt: skip


@pytest.mark.parametrize("how", ["GET", "CONNECT"])
@pytest.mark.parametrize("host", HOSTS)
def test_esc_02_t25_c9_nothing_inside_is_reached(place: Place, host: str, how: str) -> None:
    """T25, C9: refused after name resolution, with a page or an end, never with what stands there."""
    place.inner.clear()
    authority = f"{host}:{place.inner.port}"
    port = place.guarded.port("explicit")
    if how == "GET":
        got = sockets.exchange(
            port, f"GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode()
        )
    else:
        with sockets.dial(port) as sock:
            sock.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
            got = sockets.read_until(sock, b"\r\n\r\n")
            if got.startswith(b"HTTP/1.1 200"):
                sock.sendall(f"GET / HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode())
                got = sockets.read_all(sock)
    assert got.split(b" ")[1][:1] in (b"4", b"5"), got[:200]
    assert not place.inner.accepted


@pytest.mark.parametrize("host", ["127.0.0.1", "metadata.test", "mixed.test"])
def test_c9_refusal_is_recorded_with_its_reason(place: Place, host: str) -> None:
    got = place.guarded.curl(f"http://{host}:{place.inner.port}/why")
    assert got.status == 403
    event = place.guarded.event(url=f"http://{host}:{place.inner.port}/why")
    assert (event["reason"], event["event_type"], event["escape"]["path"]) == ("egress_denied", "block", ["direct"])


def test_c9_what_is_allowed_is_reached_by_address_and_by_name(place: Place) -> None:
    for host in ("127.0.0.50", "open.test"):
        assert place.guarded.curl(f"http://{host}:{place.allowed.port}/").status == 200


def test_c9_spliced_and_unknown_traffic_is_guarded_too(place: Place) -> None:
    """The guard stands in the escaper, behind every lane: here TLS, whose server would be asked first."""
    place.inner.clear()
    got = place.guarded.curl("--cacert", place.guarded.ca(), f"https://inner.test:{place.inner.port}/")
    assert got.status == 403
    assert not place.inner.accepted


@pytest.mark.parametrize("host", ["127.0.0.1", "inner.test", "127.0.0.2"])
@pytest.mark.parametrize("which", ["explicit", "admin", "icap"])
def test_c9_the_appliance_itself_is_never_reached(place: Place, which: str, host: str) -> None:
    """Also by a tenant that may reach all of loopback."""
    ports = {"explicit": place.guarded.port("explicit"), "admin": place.guarded.admin_port, "icap": place.proxied}
    got = place.guarded.curl("--interface", "127.0.3.1", f"http://{host}:{ports[which]}/health")
    if host == "127.0.0.2":
        assert got.status in (403, 502)  # nothing of ours listens on this address
    else:
        assert got.status == 403
        event = place.guarded.event(destination_port=ports[which], destination_host=host)
        assert (event["reason"], event["tenant_id"]) == ("egress_denied", "wide")
