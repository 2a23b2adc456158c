"""TLS-16: what is the portal's, and what only says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.portal import Portal
from appliance.domain.facts import ClientFacts
from appliance.domain.notes import ConnNotes
from appliance.domain.target import Target
from appliance.portal.names import NO_PORTAL, PortalNames

NAMES = PortalNames("arcus.internal", ("proxy.example.com",))
OPEN = ConnNotes(ClientFacts("10.0.0.7", 4000, "explicit"))
INSIDE = ConnNotes(ClientFacts("10.0.0.7", 4000, "explicit"), portal=True)


@pytest.mark.parametrize(
    ("target", "sni", "ours"),
    [
        ("arcus.internal", "", True),
        ("check.arcus.internal", "", True),
        ("arcus.internal", "other.test", True),  # the target decides, and is never dialled
        ("192.0.2.9", "arcus.internal", True),
        ("2001:db8::9", "check.arcus.internal", True),
        ("192.0.2.9", "", False),
        ("bank.test", "arcus.internal", False),
        ("xarcus.internal", "", False),
        ("arcus.internal.evil.test", "", False),
        ("x.check.arcus.internal", "", False),
    ],
)
def test_tls_16_a_tunnel_is_ours_by_where_it_leads(target: str, sni: str, ours: bool) -> None:
    assert NAMES.tunnel(Target(target, 443), sni) is ours


@pytest.mark.parametrize(
    ("target", "scheme", "claimed", "path", "ours"),
    [
        ("arcus.internal", "http", "arcus.internal", "/", True),
        ("arcus.internal", "https", "", "/", True),  # in absolute form, without a tunnel: not dialled either
        ("192.0.2.9", "http", "arcus.internal", "/", True),
        ("192.0.2.9", "https", "arcus.internal", "/", False),  # the ClientHello said another name
        ("bank.test", "http", "arcus.internal", "/", False),
        ("wpad.corp.test", "http", "wpad.corp.test", "/wpad.dat", True),
        ("wpad", "http", "wpad", "/wpad.dat?x", True),
        ("wpad.corp.test", "http", "wpad.corp.test", "/other", False),
        ("wpadx.test", "http", "wpadx.test", "/wpad.dat", False),
        ("192.0.2.9", "http", "wpad", "/proxy.pac", True),
    ],
)
def test_tls_16_a_request_is_ours(target: str, scheme: str, claimed: str, path: str, ours: bool) -> None:
    assert NAMES.request(OPEN, Target(target, 80), scheme, claimed, path) is ours


def test_tls_16_all_in_a_portal_tunnel_is_ours_whatever_it_claims() -> None:
    assert NAMES.request(INSIDE, Target("192.0.2.9", 443), "https", "bank.test", "/")
    assert NAMES.request(INSIDE, None, "https", "", "/")


@pytest.mark.parametrize("host", ["arcus.internal", "192.0.2.1", "proxy.example.com", "wpad", "wpad.corp.test"])
def test_c25_a_listener_asked_directly_knows_its_names(host: str) -> None:
    assert NAMES.direct(host, "192.0.2.1")


@pytest.mark.parametrize("host", ["", "192.0.2.2", "origin.test", "xwpad.test"])
def test_c25_other_hosts_in_origin_form_stay_an_error(host: str) -> None:
    assert not NAMES.direct(host, "192.0.2.1")


@given(st.text(max_size=40))
def test_tls_16_switched_off_serves_nothing(host: str) -> None:
    off = PortalNames.of(Portal(enabled=False))
    for names in (off, NO_PORTAL):
        assert not names.serves(host)
        assert not names.direct(host, host)
        assert not names.tunnel(Target(host, 443), host)
        assert not names.request(OPEN, Target(host, 80), "http", host, "/wpad.dat")


def test_c25_wpad_can_be_left_alone() -> None:
    names = PortalNames.of(Portal(wpad=False))
    assert not names.request(OPEN, Target("wpad.test", 80), "http", "wpad.test", "/wpad.dat")
    assert not names.direct("wpad.test", "192.0.2.1")
