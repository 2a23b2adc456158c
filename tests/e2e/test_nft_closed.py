"""SRV-07, C13: the rules in compose/nft, over both families of addresses, while Arcus runs and while it does not."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import netns
from tests.e2e.netns import SERVER_IP, Gateway
from tests.e2e.running import ROOT, base_config, running
from tests.proxies import nginx

WHY_NOT = netns.why_not()
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.netns,
    pytest.mark.security,
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "-"),
]


@pytest.fixture(scope="module")
def net() -> Iterator[Gateway]:
    with netns.gateway("arcus-nft") as made:
        _ip(made.gateway, "address", "add", "fd71::1/64", "dev", "inside", "nodad")
        _ip(made.gateway, "address", "add", "fd72::1/64", "dev", "outside", "nodad")
        _ip(made.client, "address", "add", "fd71::2/64", "dev", "eth0", "nodad")
        _ip(made.server, "address", "add", "fd72::2/64", "dev", "eth0", "nodad")
        _ip(made.client, "-6", "route", "add", "default", "via", "fd71::1")
        _ip(made.server, "-6", "route", "add", "default", "via", "fd72::1")
        forward = ["sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"]
        subprocess.run([*made.inside(made.gateway), *forward], check=True)
        with netns.entered(made.server), nginx(host=SERVER_IP, server="listen [::]:80; return 200;", port=80):
            yield made


def _ip(name: str, *arguments: str) -> None:
    subprocess.run(["ip", "-n", name, *arguments], check=True, capture_output=True)


def answered(net: Gateway, host: str) -> bool:
    command = [
        *net.inside(net.client),
        "curl",
        "-sS",
        "-o",
        "/dev/null",
        "--noproxy",
        "*",
        "--max-time",
        "10",
        f"http://{host}/",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=40)
    assert done.returncode in (0, 7), done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("host", [SERVER_IP, "[fd72::2]"], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("mode", ["redirect", "tproxy"])
def test_srv_07_what_arcus_does_not_take_is_refused_and_never_forwarded(net: Gateway, mode: str, host: str) -> None:
    net.nft("")
    assert answered(net, host)
    net.nft((Path(ROOT) / "compose" / "nft" / f"{mode}.nft").read_text().replace('"lan0"', '"inside"'))
    assert not answered(net, host)


@pytest.mark.parametrize("mode", ["redirect", "tproxy"])
def test_srv_07_ipv6_is_inspected_where_arcus_listens_for_it(net: Gateway, tmp_path: Path, mode: str) -> None:
    for command in (
        ("rule", "add", "fwmark", "1", "lookup", "100"),
        ("route", "replace", "local", "default", "dev", "lo", "table", "100"),
    ):
        _ip(net.gateway, "-6", *command)
    net.nft((Path(ROOT) / "compose" / "nft" / f"{mode}.nft").read_text().replace('"lan0"', '"inside"'))
    way = {"name": "direct", "type": "direct_fixed", "egress_network_filter": {"allow": ["fd72::/64"]}}
    listener = {"name": "wire", "type": "tcp_tproxy", "mode": mode, "listen": {"address": "[::]:8081"}}
    config = base_config(tmp_path / "state", escaper=[way], server=[listener])
    with running(config, tmp_path, net.inside(net.gateway)) as arcus:
        assert answered(net, "[fd72::2]")
        event = arcus.event(destination_host="fd72::2")
    assert (event["source_ip"], event["server"], event["reason"]) == ("fd71::2", "wire", "ok")
