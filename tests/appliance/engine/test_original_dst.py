"""The destination of redirected connections, from what the kernel gives."""

import socket
import struct
from typing import Any

import pytest

from appliance.domain.target import Target
from appliance.engine.original_dst import original_destination


class Socket:
    """A connection as netfilter shows it. ``found``: the raw sockaddr of each level; a missing one is ENOENT."""

    def __init__(self, local: tuple[Any, ...], peer: str, family: int = socket.AF_INET, **found: bytes) -> None:
        self.local, self.peer, self.family, self.found = local, peer, family, found

    def getsockname(self) -> tuple[Any, ...]:
        return self.local

    def getpeername(self) -> tuple[Any, ...]:
        return (self.peer, 40_000)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        raw = self.found.get({socket.SOL_IP: "v4", socket.IPPROTO_IPV6: "v6"}[level])
        if raw is None or option != 80:
            raise OSError(2, "No such file or directory")
        assert size == len(raw)
        return raw


def v4(ip: str, port: int) -> bytes:
    return struct.pack("!2sH4s8x", b"\x02\x00", port, socket.inet_pton(socket.AF_INET, ip))


def v6(ip: str, port: int) -> bytes:
    return struct.pack("!2sHI16sI", b"\x0a\x00", port, 0x01020304, socket.inet_pton(socket.AF_INET6, ip), 7)


def asked(mode: str, sock: Socket) -> Target | None:
    return original_destination(sock, mode)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sock", "expected"),
    [
        (Socket(("127.0.0.1", 8081), "192.0.2.1", v4=v4("203.0.113.9", 443)), Target("203.0.113.9", 443)),
        (Socket(("::1", 8081, 0, 0), "2001:db8::1", socket.AF_INET6, v6=v6("2001:db8::9", 8443)), Target("2001:db8::9", 8443)),
        (Socket(("::ffff:127.0.0.1", 8081, 0, 0), "::ffff:192.0.2.1", socket.AF_INET6, v4=v4("203.0.113.9", 80)),
         Target("203.0.113.9", 80)),
        (Socket(("127.0.0.1", 8081), "192.0.2.1", v4=v4("127.0.0.1", 443)), Target("127.0.0.1", 443)),
    ],
)  # fmt: skip
def test_redirect(sock: Socket, expected: Target) -> None:
    assert asked("redirect", sock) == expected


@pytest.mark.security
@pytest.mark.parametrize(
    "sock",
    [
        Socket(("127.0.0.1", 8081), "192.0.2.1"),
        Socket(("127.0.0.1", 8081), "192.0.2.1", v4=v4("127.0.0.1", 8081)),
        Socket(("::ffff:127.0.0.1", 8081, 0, 0), "::ffff:192.0.2.1", socket.AF_INET6, v4=v4("127.0.0.1", 8081)),
        Socket(("::1", 8081, 0, 0), "2001:db8::1", socket.AF_INET6, v6=v6("::1", 8081)),
    ],
)
def test_a_connection_to_the_listener_itself_goes_nowhere(sock: Socket) -> None:
    assert asked("redirect", sock) is None


def test_tproxy_finds_it_as_the_local_address() -> None:
    assert asked("tproxy", Socket(("203.0.113.9", 443), "192.0.2.1")) == Target("203.0.113.9", 443)
    mapped = Socket(("::ffff:203.0.113.9", 443, 0, 0), "::ffff:192.0.2.1", socket.AF_INET6)
    assert asked("tproxy", mapped) == Target("203.0.113.9", 443)
    assert asked("tproxy", Socket(("2001:db8::9", 443, 0, 0), "2001:db8::1", socket.AF_INET6)) == Target("2001:db8::9", 443)


def test_a_real_connection_that_nobody_redirected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        with server:
            assert original_destination(server, "redirect") is None
            assert client.getpeername() == server.getsockname()
