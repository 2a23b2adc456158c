"""Who is shown the next CA; D8."""

import pytest

from addons.overlap import Overlap, in_share
from appliance.domain.clock import SystemClock
from appliance.domain.facts import HelloFacts
from appliance.domain.ids import TenantId
from certs.authority import Authority
from certs.cache import LeafCache
from tests.addons.flows import A, conn

PROBE = "next.arcus.internal"


@pytest.fixture
def cache(authority: Authority) -> LeafCache:
    return LeafCache(authority, 10, 60, SystemClock())


def overlap(cache: LeafCache, share: int, ready: bool) -> Overlap:
    return Overlap({A: (cache, share)}, PROBE, lambda fingerprint, _: ready and fingerprint == cache.authority.fingerprint)


@pytest.mark.parametrize(("share", "ready", "expected"), [(100, True, True), (0, True, False), (100, False, False)])
def test_only_clients_that_have_accepted_it_are_served_by_it(cache: LeafCache, share: int, ready: bool, expected: bool) -> None:
    """An empty cache is one, too."""
    assert (overlap(cache, share, ready).cache(conn(hello=HelloFacts("a.test"))) is cache) is expected


def test_the_probe_is_always_signed_by_it_and_only_where_it_is_the_portal_s(cache: LeafCache) -> None:
    asked = conn(hello=HelloFacts(PROBE))
    assert overlap(cache, 0, False).cache(asked) is None
    asked.portal = True
    assert overlap(cache, 0, False).cache(asked) is cache


@pytest.mark.security
def test_another_tenant_is_never_shown_it(cache: LeafCache) -> None:
    other = conn(hello=HelloFacts(PROBE))
    other.portal, other.tenant = True, TenantId("other")
    assert overlap(cache, 100, True).cache(other) is None


def test_shares_are_stable_and_grow() -> None:
    clients = [f"10.0.{high}.{low}" for high in range(8) for low in range(250)]
    sizes = []
    before: set[str] = set()
    for percent in (0, 10, 50, 100):
        chosen = {ip for ip in clients if in_share(ip, percent)}
        assert before <= chosen
        before = chosen
        sizes.append(len(chosen) / len(clients))
    assert sizes[0] == 0.0
    assert 0.07 < sizes[1] < 0.13
    assert 0.45 < sizes[2] < 0.55
    assert sizes[3] == 1.0
