import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.ids import TenantId
from appliance.domain.reason import Reason
from appliance.tenancy.quota import ConnectionQuota, Slots
from tests.appliance.tenancy.tenants import tenant

A, B = TenantId("a"), TenantId("b")


@pytest.fixture
def quota() -> ConnectionQuota:
    return ConnectionQuota([tenant("a", max_connections=2), tenant("b")])


def test_a_tenant_is_admitted_up_to_its_limit_and_others_are_untouched(quota: ConnectionQuota) -> None:
    assert [quota.acquire_tenant(A) for _ in range(3)] == [Reason.OK, Reason.OK, Reason.RESOURCE_EXHAUSTED]
    assert all(quota.acquire_tenant(B) is Reason.OK for _ in range(100))
    quota.release_tenant(A)
    assert quota.acquire_tenant(A) is Reason.OK
    assert quota.tenants.held(A) == 2
    assert quota.tenants.refused == 1


def test_a_refusal_takes_nothing_and_released_keys_leave_nothing(quota: ConnectionQuota) -> None:
    for _ in range(5):
        quota.acquire_tenant(A)
    for _ in range(2):
        quota.release_tenant(A)
    assert len(quota.tenants) == 0


@pytest.mark.security
def test_releasing_what_is_not_held_is_an_error(quota: ConnectionQuota) -> None:
    with pytest.raises(KeyError):
        quota.release_tenant(A)
    with pytest.raises(KeyError):
        quota.acquire_tenant(TenantId("unknown"))


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"))), st.integers(1, 4))
def test_counts_agree_with_a_plain_list(steps: list[tuple[bool, str]], limit: int) -> None:
    slots, held = Slots[str](), []
    for take, key in steps:
        if take:
            admitted = slots.acquire(key, limit)
            assert admitted == (held.count(key) < limit)
            held += [key] if admitted else []
        elif key in held:
            slots.release(key)
            held.remove(key)
    assert {key: slots.held(key) for key in "abc"} == {key: held.count(key) for key in "abc"}
    assert len(slots) == len(set(held))
