"""T25: what may be dialled, judged after name resolution."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.errors import PolicyError
from appliance.domain.reason import Reason
from appliance.domain.target import Target, normalise_host, parse_ip
from appliance.egress.guard import EgressGuard, OwnListeners
from appliance.egress.local import is_local
from tests.appliance.egress.ways import close, dialer, node, origin, resolver, wish


def guard(allow: str = "", deny: str = "", own: tuple[Target, ...] = ()) -> EgressGuard:
    networks = [[ipaddress.ip_network(text) for text in side.split()] for side in (allow, deny)]
    return EgressGuard(OwnListeners(own, lambda address: str(address) in ("127.0.0.1", "8.8.4.4")), *networks)


_TABLE = """
127.0.0.1 127.0.0.2 127.1 127.0.1 127.255.255.254 0 0.0.0.0 0.0.0.1 2130706433 0x7f000001 0x7f.1 0x7f.0.0.1
017700000001 0177.0.0.1 0177.1 127.0.0.1. 127.000.000.001 00127.0.0.1 127.0.0.0x1 4294967295 1.1.1.1.1 0x7f.0.0.01
[::1] [::] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::1%25lo] [::1%lo] ::1 [::ffff:127.0.0.1]
[::ffff:7f00:1] [0:0:0:0:0:ffff:7f00:1] [::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [::ffff:10.0.0.1] [::127.0.0.1]
[::7f00:1] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b::a9fe:a9fe] [64:ff9b:1::1]
[2002:7f00:1::] [2002:a9fe:a9fe::1] [2001:0:7f00:1::] [2001::1] [2606:4700::5efe:7f00:1]
[2606:4700::200:5efe:10.0.0.1] 169.254.169.254 2852039166 0xa9fea9fe 0xa9.0xfe.0xa9.0xfe 0251.0376.0251.0376
169.254.43518 169.254.170.2 169.254.0.1 [fd00:ec2::254] [fd20:ce::254] [fe80::1] [fe80::1%eth0] [fec0::1] [fc00::1]
[fdff::1] 100.100.100.200 168.63.129.16 192.0.0.192 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1
192.168.1.1 100.64.0.1 100.127.255.255 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.9 224.0.0.1 239.255.255.250
240.0.0.1 255.255.255.255 192.88.99.1 [ff02::1] [ff0e::1] [2001:db8::1] [3fff::1] [100::1] [5f00::1] [4000::1]
①②⑦.0.0.1 127。0。0。1 localhost localhost.localdomain ip6-localhost
"""
SPELLINGS = _TABLE.split()
NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "localhost.localdomain": ["127.0.0.1"],
    "ip6-localhost": ["::1"],
}


@pytest.mark.security
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_t25_no_spelling_reaches_the_inside(spelling: str) -> None:
    """Refused by the normaliser, or refused by the guard: never dialled."""
    try:
        host = normalise_host(spelling)
    except ValueError:
        return
    way = node("d", "direct_fixed", egress_network_filter={}, resolver="static")
    async with dialer(way, resolvers=[resolver(hosts=NAMES)]) as out:
        with pytest.raises(PolicyError) as caught:
            await out.connect("d", wish(host, 80))
    assert caught.value.reason is Reason.EGRESS_DENIED
    assert caught.value.escape
    assert caught.value.escape.tries == 0


def test_t25_there_are_enough_spellings() -> None:
    assert len(set(SPELLINGS)) >= 65


@pytest.mark.security
async def test_t25_the_control_is_reached() -> None:
    """The same way, with loopback allowed, connects: the table above does not pass because nothing works."""
    async with origin() as server, dialer(node("d", "direct_fixed")) as out:
        await close(await out.connect("d", wish("127.0.0.1", server.port)))


@pytest.mark.parametrize(
    "ip", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808", "100.128.0.1"]
)
def test_t25_the_open_internet_is_open(ip: str) -> None:
    assert guard().refusal(ip, 443) == ""


@pytest.mark.parametrize(
    ("allow", "deny", "ip", "passes"),
    [
        ("127.0.0.0/8", "", "127.0.0.2", True),
        ("10.1.0.0/16", "", "10.1.2.3", True),
        ("10.1.0.0/16", "", "10.2.2.3", False),
        ("0.0.0.0/0 ::/0", "", "127.0.0.2", False),
        ("0.0.0.0/0 ::/0", "", "fc00::1", False),
        ("169.254.0.0/16", "", "169.254.1.1", True),
        ("169.254.0.0/16", "", "169.254.169.254", False),
        ("169.254.169.254/32", "", "169.254.169.254", True),
        ("10.0.0.0/8", "10.0.0.0/8", "10.0.0.1", False),
        ("10.0.0.0/8", "10.1.0.0/16", "10.1.0.1", False),
        ("10.1.2.0/24", "10.1.0.0/16", "10.1.2.3", True),
        ("", "8.8.8.0/24", "8.8.8.8", False),
        ("8.8.8.8/32", "0.0.0.0/0", "8.8.8.8", True),
        ("8.8.8.8/32", "0.0.0.0/0", "8.8.8.9", False),
        ("127.0.0.0/8", "", "64:ff9b::7f00:2", True),
        ("64:ff9b::/96", "", "64:ff9b::7f00:2", False),
        ("fd00::/8", "", "fd00:ec2::254", False),
        ("", "", "8.8.4.4", False),  # one of our own addresses, see guard()
        ("8.8.4.4/32", "", "8.8.4.4", True),
    ],
)
def test_t25_the_longest_prefix_decides(allow: str, deny: str, ip: str, passes: bool) -> None:
    assert (guard(allow, deny).refusal(ip, 443) == "") is passes


@pytest.mark.parametrize(
    ("listener", "ip", "port", "refused"),
    [
        (Target("127.0.0.1", 8080), "127.0.0.1", 8080, True),
        (Target("127.0.0.1", 8080), "127.0.0.1", 8081, False),
        (Target("127.0.0.1", 8080), "127.0.0.2", 8080, False),
        (Target("127.0.0.1", 8080), "::ffff:127.0.0.1", 8080, True),
        (Target("0.0.0.0", 8080), "127.0.0.1", 8080, True),
        (Target("::", 8080), "8.8.4.4", 8080, True),
        (Target("::", 8080), "8.8.4.4", 8081, False),
        (Target("localhost", 8080), "127.0.0.1", 8080, True),
        (Target("127.0.0.1", 8080), "0.0.0.0", 8080, True),
        (Target("::", 8080), "93.184.216.34", 8080, False),
    ],
)
def test_t25_own_listeners_stay_shut_whatever_is_allowed(listener: Target, ip: str, port: int, refused: bool) -> None:
    everything = guard("127.0.0.0/8 127.0.0.1/32 8.8.4.4/32", own=(listener,))
    assert (everything.refusal(ip, port) == "our own listener") is refused


def test_t25_a_text_that_is_no_address_is_an_error() -> None:
    with pytest.raises(ValueError):
        guard().refusal("localhost", 80)


@given(st.ip_addresses())
def test_t25_refuses_whatever_the_standard_library_does_not_call_global(address: ipaddress.IPv4Address) -> None:
    """Compared with another table of the same registries."""
    normal = parse_ip(str(address)) or address
    if not normal.is_global or normal.is_multicast:
        assert guard().refusal(str(address), 443)


@given(st.ip_addresses(v=4))
def test_t25_every_carrier_of_an_inner_address_is_judged_as_harshly(inner: ipaddress.IPv4Address) -> None:
    carriers = ["::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "2606:4700::5efe:0:0", "2606:4700::200:5efe:0:0"]
    if guard().refusal(str(inner), 443):
        for carrier in carriers:
            outer = ipaddress.IPv6Address(int(ipaddress.IPv6Address(carrier)) | int(inner))
            assert guard().refusal(str(outer), 443), outer


def test_local_addresses_are_found_by_asking_the_kernel() -> None:
    assert is_local(ipaddress.ip_address("127.0.0.77"))
    assert is_local(ipaddress.ip_address("::1"))
    assert not is_local(ipaddress.ip_address("93.184.216.34"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("93.184.216.34", 9))
        except OSError:
            pytest.skip("no route off this machine")
        assert is_local(ipaddress.ip_address(probe.getsockname()[0]))


@pytest.mark.security
async def test_t25_rebinding_gains_nothing() -> None:
    """The name is harmless when judged and loopback when asked again: one lookup, and the address judged is dialled."""
    answers = iter([["127.0.0.5"], ["127.0.0.1"]])
    asked: list[str] = []

    def lookup(host: str) -> list[str]:
        asked.append(host)
        return next(answers)

    way = node("d", "direct_fixed", resolver="fresh", retry_attempts=3, egress_network_filter={"allow": ["127.0.0.5/32"]})
    fresh = resolver("fresh", cache_ttl=0, negative_ttl=0)
    async with origin("127.0.0.5") as server, dialer(way, resolvers=[fresh], lookup=lookup) as out:
        dialed = await out.connect("d", wish("rebind.test", server.port))
        assert dialed.writer.get_extra_info("peername")[0] == dialed.notes.resolved_ip == "127.0.0.5"
        await close(dialed)
        with pytest.raises(PolicyError) as caught:
            await out.connect("d", wish("rebind.test", server.port))
    assert caught.value.reason is Reason.EGRESS_DENIED
    assert asked == ["rebind.test"] * 2


@pytest.mark.security
async def test_t25_a_mixed_answer_is_reached_on_the_open_address_only() -> None:
    mixed = resolver(hosts={"mixed.test": ["10.0.0.1", "127.0.0.5", "169.254.169.254"]})
    way = node("d", "direct_fixed", resolver="static", retry_attempts=5, egress_network_filter={"allow": ["127.0.0.5/32"]})
    async with origin("127.0.0.5") as server, dialer(way, resolvers=[mixed]) as out:
        dialed = await out.connect("d", wish("mixed.test", server.port))
        await close(dialed)
    assert (dialed.notes.resolved_ip, dialed.notes.tries) == ("127.0.0.5", 1)
