"""Whose traffic it is: by listener, header of a trusted proxy, source network, name, or nobody's in particular."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from ruamel.yaml import YAML

from tests.e2e import origins, sockets
from tests.e2e.running import ROOT, Answer, Running, base_config, running, wait_until
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.security, pytest.mark.xdist_group("e2e-tenants")]

NAMES = ("x.tenant-b.test", "tenant-b.test", "eviltenant-b.test", "X.Tenant-B.TEST", "bücher.test", "origin.test")
TRUSTED_IN_NETWORK, TRUSTED, IN_NETWORK, LONGER, STRANGER = "127.0.1.7", "127.0.2.1", "127.0.1.1", "127.0.1.200", "127.0.0.1"


@dataclass
class Place:
    arcus: Running
    plain: origins.Origin
    secure: origins.Origin
    trusted: origins.Authority


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("tenants")
    trusted = origins.authority(directory)
    with (
        origins.origin() as plain,
        origins.origin(context=trusted.context(*(name.lower() for name in NAMES), "127.0.0.1")) as secure,
        running(_config(directory / "state", trusted), directory) as arcus,
    ):
        yield Place(arcus, plain, secure, trusted)


def _tenant(name: str, ca: str = "default", **more: object) -> dict[str, object]:
    return {"tenant_id": name, "ca": ca, "auditor": "inspect", "escaper": f"way-{name}", **more}


def _config(state: Path, trusted: origins.Authority) -> dict[str, Any]:
    tenants = [
        _tenant("default"),
        _tenant("net", "net", match={"networks": ["127.0.1.0/24", "::1/128"]}),
        _tenant("longer", match={"networks": ["127.0.1.128/25"]}),
        _tenant("b", "b", match={"sni": [".tenant-b.test", "bücher.test"]}),
        _tenant("head"),
        _tenant("closed", match={"networks": ["127.0.9.0/24"]}, status="suspended"),
    ]
    hosts = {name: ["127.0.0.1"] for name in {name.lower() for name in NAMES}}
    escapers = [
        {
            "name": tenant["escaper"], "type": "direct_fixed", "resolver": "local",
            "egress_network_filter": {"allow": ["127.0.0.0/8"]},
        }
        for tenant in tenants
    ]  # fmt: skip
    proxies = {"trusted_proxies": [f"{TRUSTED_IN_NETWORK}/32", "127.0.2.0/24"]}
    return base_config(
        state,
        ca=[{"name": "default"}, {"name": "net", "common_name": "Net CA"}, {"name": "b", "common_name": "B CA"}],
        resolver=[{"name": "local", "type": "system", "hosts": hosts}],
        escaper=escapers,
        auditor=[origins.trusting(trusted)],
        tenant=tenants,
        server=[
            {"name": "explicit", "type": "http_proxy", "listen": {"address": f"127.0.0.1:{free_port()}"}, **proxies},
            {"name": "six", "type": "http_proxy", "listen": {"address": f"[::1]:{free_port('::1')}"}},
        ],
    )


def _ask(place: Place, path: str, *more: str, source: str = STRANGER, host: str = "origin.test", claim: str = "") -> Answer:
    extra = ("-H", f"X-Tenant-ID: {claim}") if claim else ()
    return place.arcus.curl("--interface", source, *extra, *more, f"http://{host}:{place.plain.port}/{path}")


def _event(place: Place, path: str) -> dict[str, Any]:
    """The newest event whose URL ends so."""

    def find() -> dict[str, Any] | None:
        return next((event for event in reversed(place.arcus.events()) if event["url"].endswith(path)), None)

    found: dict[str, Any] = wait_until(find, 10, f"an event for {path}")
    return found


@pytest.mark.parametrize(
    ("source", "tenant", "method"),
    [
        (IN_NETWORK, "net", "network"),
        (LONGER, "longer", "network"),
        (STRANGER, "default", "default"),
        ("127.0.2.1", "default", "default"),
    ],
)
def test_ten_01_ten_04_source_network_and_default(place: Place, source: str, tenant: str, method: str) -> None:
    """The longest prefix wins; what matches nothing is the default tenant's."""
    path = f"net-{source}"
    assert _ask(place, path, source=source).status == 200
    event = _event(place, path)
    assert (event["tenant_id"], event["tenant_method"]) == (tenant, method)


def test_ten_01_ipv6_source_network(place: Place) -> None:
    with sockets.dial(place.arcus.port("six"), host="::1") as sock:
        sock.sendall(f"GET {place.plain.url}/six HTTP/1.1\r\nHost: origin.test:{place.plain.port}\r\n\r\n".encode())
        assert sockets.read_response(sock)[0] == 200
    assert (_event(place, "/six")["tenant_id"], _event(place, "/six")["source_ip"]) == ("net", "::1")


@pytest.mark.parametrize("secure", [False, True])
def test_ten_02_header_of_a_trusted_peer_counts_and_is_stripped(place: Place, secure: bool) -> None:
    origin = place.secure if secure else place.plain
    origin.clear()
    claim = "--proxy-header" if secure else "-H"
    url = f"{origin.url}/claimed-{secure}"
    got = place.arcus.curl("--interface", TRUSTED, claim, "X-Tenant-ID: head", "--cacert", place.arcus.ca(), url)
    assert got.status == 200
    event = _event(place, f"/claimed-{secure}")
    assert (event["tenant_id"], event["tenant_method"]) == ("head", "header")
    assert origin.requests[-1].values("x-tenant-id") == []


@pytest.mark.parametrize(("source", "claim"), [(STRANGER, "head"), (IN_NETWORK, "head"), (STRANGER, "default")])
def test_ten_02_header_of_anyone_else_is_ignored_and_noted(place: Place, source: str, claim: str) -> None:
    """T1: a client cannot choose its tenant."""
    path = f"/spoofed-{source}-{claim}"
    assert _ask(place, path[1:], source=source, claim=claim).status == 200
    event = _event(place, path)
    assert event["tenant_id"] == ("net" if source == IN_NETWORK else "default")
    assert "tenant_header_ignored" in event["events"]
    assert place.plain.requests[-1].values("x-tenant-id") == []


def test_ten_02_header_inside_a_tunnel_is_stripped_and_means_nothing(place: Place) -> None:
    place.secure.clear()
    url = f"{place.secure.url}/inside"
    place.arcus.curl("--interface", TRUSTED, "-H", "X-Tenant-ID: head", "--cacert", place.arcus.ca(), url)
    assert _event(place, "/inside")["tenant_id"] == "default"
    assert place.secure.requests[-1].values("x-tenant-id") == []


def test_ten_02_unknown_tenant_in_the_header_of_a_trusted_peer(place: Place) -> None:
    place.plain.clear()
    got = _ask(place, "unknown", source=TRUSTED, claim="no-such-tenant")
    event = _event(place, "/unknown")
    assert event["tenant_id"] != "no-such-tenant"
    assert got.status == 403 or (event["tenant_id"] == "default" and "tenant_header_ignored" in event["events"])


@pytest.mark.parametrize(
    ("host", "tenant"),
    [
        ("x.tenant-b.test", "b"),
        ("tenant-b.test", "b"),
        ("X.Tenant-B.TEST", "b"),
        ("x.tenant-b.test.", "b"),
        ("xn--bcher-kva.test", "b"),
        ("eviltenant-b.test", "default"),
    ],
)
def test_ten_03_name_suffix(place: Place, host: str, tenant: str) -> None:
    """Case, a trailing dot and IDN spelling make no difference; a name that only ends alike does."""
    path = f"/name-{host}"
    assert _ask(place, path[1:], host=host).status == 200
    event = _event(place, path)
    assert (event["tenant_id"], event["tenant_method"]) == (tenant, "name" if tenant == "b" else "default")


def test_ten_03_sni_names_the_tenant_of_a_tunnel_to_an_address(place: Place) -> None:
    with (
        sockets.connect(place.arcus.port("explicit"), f"127.0.0.1:{place.secure.port}") as tunnel,
        sockets.tls(tunnel, "x.tenant-b.test", place.arcus.ca("b")) as sock,
    ):
        sock.sendall(b"GET /by-sni HTTP/1.1\r\nHost: x.tenant-b.test\r\n\r\n")
        assert sockets.read_response(sock)[0] == 200
    assert _event(place, "/by-sni")["tenant_id"] == "b"


@pytest.mark.parametrize("name", [False, True])
@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("header", [False, True])
def test_ten_05_order_of_the_methods(place: Place, header: bool, network: bool, name: bool) -> None:
    """All eight combinations: the header of a trusted peer, then the network, then the name, then the default."""
    path = f"/order-{header}-{network}-{name}"
    source = TRUSTED_IN_NETWORK if network else TRUSTED
    host = "x.tenant-b.test" if name else "origin.test"
    assert _ask(place, path[1:], source=source, host=host, claim="head" if header else "").status == 200
    wanted = ("head", "header") if header else ("net", "network") if network else ("b", "name") if name else ("default",) * 2
    event = _event(place, path)
    assert (event["tenant_id"], event["tenant_method"]) == wanted


def test_ten_06_the_tenants_settings_are_used(place: Place) -> None:
    assert _ask(place, "settings", source=IN_NETWORK).status == 200
    event = _event(place, "/settings")
    assert (event["escaper"], event["escape"]["path"]) == ("way-net", ["way-net"])


def test_ten_06_a_tenant_without_a_way_out_is_refused_at_the_start(tmp_path: Path, place: Place) -> None:
    config = _config(tmp_path / "state", place.trusted)
    del config["tenant"][1]["escaper"]
    path = tmp_path / "arcus.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(config, file)
    command = [sys.executable, "-m", "appliance.cli", "run", "-c", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "tenant[net]" in done.stderr
    assert "no way out" in done.stderr


@pytest.mark.parametrize("secure", [False, True])
def test_ten_01_a_suspended_tenant_gets_nothing(place: Place, secure: bool) -> None:
    origin = place.secure if secure else place.plain
    origin.clear()
    got = place.arcus.curl("--interface", "127.0.9.1", f"{origin.url}/suspended")
    assert int(got.info["http_connect"] if secure else got.status) == 403
    assert not origin.accepted
    assert place.arcus.event(reason="tenant_suspended")["tenant_id"] == "closed"


def _issuer(place: Place, source: str, host: str, ca: str) -> tuple[x509.Name, x509.Name]:
    with (
        sockets.connect(place.arcus.port("explicit"), f"{host}:{place.secure.port}", source=source) as tunnel,
        sockets.tls(tunnel, host, place.arcus.ca(ca)) as sock,
    ):
        leaf = x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"")
    return leaf.issuer, x509.load_pem_x509_certificate(place.arcus.ca(ca).read_bytes()).subject


def test_ten_13_each_tenant_has_its_own_ca(place: Place) -> None:
    """Verified by the client with that CA alone; the same host has a leaf for each."""
    found = {
        ca: _issuer(place, source, host, ca)
        for ca, source, host in (
            ("net", IN_NETWORK, "origin.test"),
            ("b", STRANGER, "x.tenant-b.test"),
            ("default", STRANGER, "origin.test"),
        )
    }
    assert all(issuer == subject for issuer, subject in found.values())
    assert len({issuer for issuer, _ in found.values()}) == 3


def test_ten_13_ten_04_one_ca_is_renewed_and_nobody_is_the_default(place: Place, tmp_path: Path) -> None:
    """A second start on a copy of the state: tenant net's CA is gone and is made anew, the others stay; without a default
    tenant a stranger is refused, and nothing crashes."""
    state = tmp_path / "state"
    shutil.copytree(place.arcus.state / "ca", state / "ca")
    shutil.rmtree(state / "ca" / "net")
    config = _config(state, place.trusted)
    config["tenant"] = config["tenant"][1:]
    with running(config, tmp_path) as second:
        assert second.ca("b").read_bytes() == place.arcus.ca("b").read_bytes()
        assert second.ca("net").read_bytes() != place.arcus.ca("net").read_bytes()
        place.plain.clear()
        assert second.curl(f"{place.plain.url}/stranger").status == 403
        assert second.curl(f"{place.secure.url}/stranger").info["http_connect"] == 403
        assert not place.plain.accepted
        assert second.event(reason="no_tenant")["tenant_id"] == ""
        assert second.curl("--interface", IN_NETWORK, f"{place.plain.url}/known").status == 200
