"""C13: what is done about Encrypted Client Hello where rules would splice, by the auditor's ``ech``."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import ech, origins
from tests.e2e.records import record
from tests.e2e.running import Running, base_config, running
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.security, pytest.mark.xdist_group("e2e-ech-modes")]
MODES = ("allow", "intercept", "block")
ACCESS_DENIED = b"\x15\x03\x03\x00\x02\x02\x31"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, origins.Origin]]:
    """A listener for each mode; everything is spliced by rule."""
    directory = tmp_path_factory.mktemp("ech")
    trusted = origins.authority(directory)
    with origins.origin(context=trusted.context()) as origin, running(_config(directory, trusted), directory) as arcus:
        yield arcus, origin


def _config(directory: Path, trusted: origins.Authority) -> dict[str, object]:
    auditors = []
    for mode in MODES:
        auditor = origins.trusting(trusted) | {"name": mode}
        auditor["tls_interception"] = {**auditor["tls_interception"], "splice": ["origin.test"], "ech": mode}  # type: ignore[dict-item]
        auditors.append(auditor)
    return base_config(
        directory / "state",
        auditor=auditors,
        tenant=[{"tenant_id": mode, "ca": "default", "auditor": mode, "escaper": "direct"} for mode in MODES],
        server=[
            {
                "name": mode, "type": "http_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"},
                "tenant_context": {"tenant_id": mode},
            }
            for mode in MODES
        ],
    )  # fmt: skip


def _hello(arcus: Running, mode: str, port: int, hello: bytes) -> bytes:
    """The first bytes that come back for a ClientHello inside a tunnel."""
    with socket.create_connection(("127.0.0.1", arcus.port(mode)), 20) as sock:
        sock.sendall(f"CONNECT origin.test:{port} HTTP/1.1\r\nHost: origin.test:{port}\r\n\r\n".encode())
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
        sock.sendall(hello)
        return sock.recv(100)


@pytest.mark.parametrize(("mode", "decrypt", "rule"), [("allow", "splice", "splice_list"), ("intercept", "intercept", "ech")])
def test_c13_spliced_or_opened(place: tuple[Running, origins.Origin], mode: str, decrypt: str, rule: str) -> None:
    arcus, origin = place
    answer = _hello(arcus, mode, origin.port, ech.client_hello("origin.test"))
    assert answer[:2] == b"\x16\x03"  # somebody's ServerHello
    event = record(arcus, tenant_id=mode, tls_ech="offered")
    assert (event["decrypt"], event["decrypt_rule"]) == (decrypt, rule)
    assert event["client_hello"]["ech"] is True
    assert event["client_hello"]["sni"] == "origin.test"


def test_c13_refused(place: tuple[Running, origins.Origin]) -> None:
    arcus, origin = place
    before = origin.accepted
    assert _hello(arcus, "block", origin.port, ech.client_hello("origin.test")) == ACCESS_DENIED
    event = record(arcus, tenant_id="block", tls_ech="offered")
    assert (event["reason"], event["rule"], event["decrypt_text"]) == (
        "decrypt_blocked", "ech", "Encrypted Client Hello is not allowed",
    )  # fmt: skip
    assert origin.accepted == before


def test_c13_a_hello_without_it_is_not_touched(place: tuple[Running, origins.Origin]) -> None:
    arcus, origin = place
    for mode in MODES:
        _hello(arcus, mode, origin.port, ech.client_hello("origin.test", ech=False))
        event = record(arcus, tenant_id=mode, decrypt_rule="splice_list", tls_ech=None)
        assert "ech" not in event["client_hello"]
