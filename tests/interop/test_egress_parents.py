"""ESC-08, ESC-09, ESC-21: squid as HTTP and HTTPS parent, nginx as origin; each tells what it saw."""

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from appliance.domain.errors import PolicyError, TaskError
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.egress.dialer import Dialer
from tests.appliance.egress.ways import close, closed_port, dialer, fetch, node, registry, resolver, wish
from tests.proxies import Peer, nginx, socks5_parent, squid

pytestmark = pytest.mark.integration

AUTH = {"username": "u", "password": "p"}
BASIC = "Basic " + base64.b64encode(b"u:p").decode()


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    for name in ("parent.test", "127.0.0.1"):
        leaf = ca.issue_cert(name)
        leaf.private_key_pem.write_to_path(directory / f"{name}.key")
        (directory / f"{name}.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    ca.cert_pem.write_to_path(directory / "ca.pem")
    trustme.CA().cert_pem.write_to_path(directory / "another.pem")
    return directory


@pytest.fixture(scope="module")
def web() -> Iterator[Peer]:
    with nginx() as peer:
        yield peer


@pytest.fixture(scope="module")
def secure_web(files: Path) -> Iterator[Peer]:
    with nginx(tls=(files / "127.0.0.1.pem", files / "127.0.0.1.key")) as peer:
        yield peer


@pytest.fixture(scope="module")
def plain() -> Iterator[Peer]:
    with squid(hosts={"only-squid-knows.test": "127.0.0.1"}) as peer:
        yield peer


@pytest.fixture(scope="module")
def guarded(files: Path) -> Iterator[Peer]:
    with squid(users={"u": "p"}, tls=(files / "parent.test.pem", files / "parent.test.key")) as peer:
        yield peer


def over_http(peer: Peer, **fields: Any) -> Any:
    return node("parent", "proxy_http", proxy_addr=f"127.0.0.1:{peer.port}", **fields)


def over_tls(peer: Peer, ca_file: Path | None, **fields: Any) -> Any:
    tls: dict[str, Any] = {"server_name": "parent.test"} | fields.pop("tls_client", {})
    tls |= {"ca_certificate": ca_file} if ca_file else {}
    return node("parent", "proxy_https", proxy_addr=f"127.0.0.1:{peer.tls_port}", tls_client=tls, **fields)


async def failure(way: Any, port: int = 443, **fields: Any) -> TaskError:
    async with dialer(way) as out:
        with pytest.raises(TaskError) as caught:
            await out.connect("parent", wish("127.0.0.1", port, **fields))
    assert caught.value.escape
    assert caught.value.escape.path == ("parent",)
    return caught.value


async def test_esc_08_connect_through_squid(plain: Peer, web: Peer) -> None:
    async with dialer(over_http(plain), lookup=lambda host: pytest.fail(host)) as out:
        dialed = await out.connect("parent", wish("only-squid-knows.test", web.port, protocol="tls"))
        answer = await fetch(dialed, "only-squid-knows.test")
    assert b"seen from 127.0.0.1" in answer
    assert (dialed.absolute_form, dialed.notes.next_hop) == (False, f"127.0.0.1:{plain.port}")
    assert plain.log(f"CONNECT only-squid-knows.test:{web.port} 200")


async def test_esc_08_plain_http_in_absolute_form(plain: Peer, web: Peer) -> None:
    async with dialer(over_http(plain)) as out:
        dialed = await out.connect("parent", wish("127.0.0.1", web.port, protocol="http"))
        answer = await fetch(dialed, f"127.0.0.1:{web.port}", f"127.0.0.1:{web.port}")
    assert b"seen from 127.0.0.1" in answer
    assert (dialed.absolute_form, dialed.proxy_authorization) == (True, None)
    assert plain.log(f"GET http://127.0.0.1:{web.port}/ 200")


async def test_esc_08_bind_ip_is_seen_by_the_parent(plain: Peer, web: Peer) -> None:
    async with dialer(over_http(plain, bind_ip=["127.0.0.9"])) as out:
        await close(await out.connect("parent", wish("127.0.0.1", web.port)))
    assert [line for line in plain.log("127.0.0.9 CONNECT") if f":{web.port} 200" in line]


async def test_esc_21_credentials_reach_the_parent_once_and_the_origin_never(guarded: Peer) -> None:
    with nginx() as fresh:
        async with dialer(over_http(guarded, auth=AUTH)) as out:
            tunnel = await out.connect("parent", wish("127.0.0.1", fresh.port, protocol="tls"))
            assert tunnel.proxy_authorization is None
            await fetch(tunnel, "o.test")
            request = await out.connect("parent", wish("127.0.0.1", fresh.port, protocol="http"))
            assert request.proxy_authorization == BASIC
            answer = await fetch(request, f"127.0.0.1:{fresh.port}", f"127.0.0.1:{fresh.port}")
        assert b"200 OK" in answer
        assert all(line.endswith(f'u "{BASIC}"') for line in guarded.log(f"127.0.0.1:{fresh.port}"))
        seen = fresh.log("GET")
    assert len(seen) == 2
    assert all(line.endswith('"-"') for line in seen)


@pytest.mark.parametrize("auth", [None, {"username": "u", "password": "wrong"}])
async def test_esc_08_407_has_its_own_reason(guarded: Peer, web: Peer, auth: dict[str, str] | None) -> None:
    error = await failure(over_http(guarded, auth=auth), web.port)
    assert error.reason is Reason.UPSTREAM_AUTH_FAILED
    assert "p" not in error.detail.split()
    assert not error.retryable


async def test_esc_08_a_parent_that_cannot_connect_refuses(plain: Peer) -> None:
    error = await failure(over_http(plain), closed_port())
    assert error.reason is Reason.UPSTREAM_PROXY_REFUSED
    assert "503" in error.detail


async def test_esc_08_a_parent_that_is_gone() -> None:
    error = await failure(node("parent", "proxy_http", proxy_addr=f"127.0.0.1:{closed_port()}"))
    assert error.reason is Reason.CONNECT_REFUSED
    assert error.retryable


async def test_esc_09_a_verified_parent(guarded: Peer, web: Peer, files: Path) -> None:
    async with dialer(over_tls(guarded, files / "ca.pem", auth=AUTH)) as out:
        dialed = await out.connect("parent", wish("127.0.0.1", web.port, protocol="tls"))
        assert dialed.writer.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
        assert b"seen from" in await fetch(dialed, "o.test")
        plain_http = await out.connect("parent", wish("127.0.0.1", web.port, protocol="http"))
        assert b"seen from" in await fetch(plain_http, f"127.0.0.1:{web.port}", f"127.0.0.1:{web.port}")
    assert plain_http.proxy_authorization == BASIC
    assert set(dialed.notes.ms) == {"dns", "connect", "handshake"}


@pytest.mark.security
@pytest.mark.parametrize(
    ("ca_name", "tls_client"),
    [
        ("another.pem", {}),
        (None, {}),
        ("ca.pem", {"server_name": "elsewhere.test"}),
        ("ca.pem", {"server_name": None}),  # then it is the address, which the certificate does not name
    ],
)
async def test_esc_09_what_cannot_be_verified_gets_no_byte(
    guarded: Peer, files: Path, ca_name: str | None, tls_client: dict[str, Any]
) -> None:
    port = closed_port()
    error = await failure(over_tls(guarded, files / ca_name if ca_name else None, auth=AUTH, tls_client=tls_client), port)
    assert error.reason is Reason.UPSTREAM_TLS_FAILED
    assert "certificate verify failed" in error.detail
    assert guarded.log(f":{port} ", seconds=0.2) == []


async def test_esc_09_a_parent_without_tls(plain: Peer, files: Path) -> None:
    way = node("parent", "proxy_https", proxy_addr=f"127.0.0.1:{plain.port}", tls_client={"ca_certificate": files / "ca.pem"})
    assert (await failure(way)).reason is Reason.UPSTREAM_TLS_FAILED


async def test_esc_09_tls_through_the_tls_of_the_parent(guarded: Peer, secure_web: Peer, files: Path, ca: trustme.CA) -> None:
    """The stream is end to end: TLS with the origin runs inside the TLS with the parent."""
    inner = ssl.create_default_context()
    ca.configure_trust(inner)
    async with dialer(over_tls(guarded, files / "ca.pem", auth=AUTH)) as out:
        dialed = await out.connect("parent", wish("127.0.0.1", secure_web.port, protocol="tls"))
        await dialed.writer.start_tls(inner, server_hostname="127.0.0.1")
        assert b"200 OK" in await fetch(dialed, "127.0.0.1")


async def test_a_name_of_the_parent_is_resolved_by_its_resolver(plain: Peer, web: Peer) -> None:
    way = node("parent", "proxy_http", proxy_addr=f"squid.test:{plain.port}", resolver="static")
    static = resolver(hosts={"squid.test": ["::1", "127.0.0.1"]})  # nobody listens on ::1
    async with dialer(way, resolvers=[static]) as out:
        dialed = await out.connect("parent", wish("127.0.0.1", web.port))
        await close(dialed)
    assert (dialed.notes.resolved_ip, dialed.notes.next_hop) == ("127.0.0.1", f"squid.test:{plain.port}")


@pytest.mark.security
@pytest.mark.parametrize("listener", ["0.0.0.0", "127.0.0.1"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "a.localhost", "0.0.0.0"])
async def test_t25_a_parent_is_no_way_back_to_our_own_listeners(plain: Peer, web: Peer, listener: str, host: str) -> None:
    async with dialer(over_http(plain), own=[Target(listener, web.port)]) as out:
        with pytest.raises(PolicyError) as caught:
            await out.connect("parent", wish(host, web.port))
    assert caught.value.reason is Reason.EGRESS_DENIED


def test_every_way_works_under_uvloop(plain: Peer, guarded: Peer, web: Peer, files: Path) -> None:
    async def conversation() -> list[bytes]:
        async with socks5_parent() as socks:
            built = registry(
                node("direct", "direct_fixed", bind_ip=["127.0.0.9"]),
                over_http(plain),
                over_tls(guarded, files / "ca.pem", auth=AUTH).model_copy(update={"name": "tls"}),
                node("socks", "proxy_socks5", proxy_addr=f"127.0.0.1:{socks.port}"),
            )
            out = Dialer(built)
            ctx = wish("127.0.0.1", web.port, protocol="tls")
            answers = [await fetch(await out.connect(name, ctx), "o.test") for name in ("direct", "parent", "tls", "socks")]
            for name, port in (("direct", closed_port()), ("parent", closed_port())):
                with pytest.raises(TaskError):
                    await out.connect(name, wish("127.0.0.1", port))
            built.close()
            return answers

    answers = uvloop.run(conversation())
    assert [b"seen from 127.0.0.9" in answers[0], *(b"seen from 127.0.0.1" in answer for answer in answers[1:])] == [True] * 4
