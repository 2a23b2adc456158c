"""A parent's 407 is ours to handle."""

import pytest

from addons.carry import is_ours
from addons.parent import Parent
from appliance.domain.reason import Reason
from tests.addons.flows import answered, flow, page, task


@pytest.mark.security
@pytest.mark.parametrize(
    ("through_parent", "status", "ours"), [(True, 407, True), (False, 407, False), (True, 200, False), (True, 401, False)]
)
def test_a_refusal_by_the_parent_is_a_page(through_parent: bool, status: int, ours: bool) -> None:
    made = flow()
    notes = task(made)
    if through_parent:
        made.server_conn.arcus_parent_auth = "Basic eDp5"  # type: ignore[attr-defined]
    answered(made, status, headers={"Proxy-Authenticate": "Basic"})
    Parent(page).responseheaders(made)
    assert is_ours(made) is ours
    assert notes.reason is (Reason.UPSTREAM_AUTH_FAILED if ours else Reason.OK)
    assert notes.upstream_status == (407 if ours else 0)
