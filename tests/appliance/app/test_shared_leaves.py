"""How keys of the shared tier name their tenants."""

import pytest

from appliance.app.shared_leaves import MAX_SCOPE, scope


@pytest.mark.security
def test_t2_scopes_differ_and_are_bounded() -> None:
    many = [f"tenant-{number}" for number in range(100)]
    scopes = [scope(["a"]), scope(["a", "b"]), scope(["ab"]), scope(many), scope(many[:-1])]
    assert len(set(scopes)) == len(scopes)
    assert max(map(len, scopes)) <= MAX_SCOPE
    assert not [each for each in scopes if ":" in each]
