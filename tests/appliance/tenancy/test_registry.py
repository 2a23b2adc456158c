import pytest

from appliance.domain.errors import PolicyError
from appliance.domain.ids import TenantId
from appliance.domain.reason import Reason
from appliance.tenancy.registry import TenantRegistry
from tests.appliance.tenancy.tenants import server, tenant

A = tenant("a", escaper="a-out", user_group="a-users")
B = tenant("b")
SERVERS = [server("plain"), server("full", escaper="way-out", user_group="guests")]


@pytest.fixture
def registry() -> TenantRegistry:
    return TenantRegistry([A, B], SERVERS)


@pytest.mark.parametrize(
    ("tenant_id", "listener", "expected"),
    [
        ("a", "plain", ("a-users", "a-out")),
        ("a", "full", ("guests", "a-out")),
        ("b", "full", ("guests", "way-out")),
        ("a", "", ("a-users", "a-out")),
    ],
)
def test_ten_06_tenant_user_group_and_escaper_are_loaded(
    registry: TenantRegistry, tenant_id: str, listener: str, expected: tuple[str, str]
) -> None:
    loaded = registry.load(TenantId(tenant_id), listener)
    assert loaded.tenant is registry.get(TenantId(tenant_id))
    assert (loaded.user_group, loaded.escaper) == expected


def test_ten_06_missing_escaper_is_no_escaper(registry: TenantRegistry) -> None:
    with pytest.raises(PolicyError) as caught:
        registry.load(TenantId("b"), "plain")
    assert caught.value.reason is Reason.NO_ESCAPER
    assert caught.value.reason.status == 503


def test_unknown_tenant_is_no_tenant(registry: TenantRegistry) -> None:
    assert "c" not in registry
    with pytest.raises(PolicyError) as caught:
        registry.get(TenantId("c"))
    assert caught.value.reason is Reason.NO_TENANT


def test_a_snapshot_does_not_change(registry: TenantRegistry) -> None:
    assert list(registry) == ["a", "b"]
    assert len(registry) == 2
    with pytest.raises(AttributeError):
        registry.extra = 1  # type: ignore[attr-defined]
