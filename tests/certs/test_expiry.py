"""How long a CA has; C21."""

from datetime import timedelta

import pytest

from certs.expiry import ALARM, WARNING, Outlook, expiry
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import CA, NOW


def ca(seconds: float, name: str = "Some CA"):
    return forge.issue(CA.but(common_name=name, end=NOW + timedelta(seconds=seconds)), None).certificate


@pytest.mark.parametrize(
    ("left", "outlook"),
    [
        (WARNING + 1, Outlook.FINE),
        (WARNING, Outlook.WARNING),
        (ALARM + 1, Outlook.WARNING),
        (ALARM, Outlook.ALARM),
        (1, Outlook.ALARM),
        (0, Outlook.ENDED),
        (-1, Outlook.ENDED),
    ],
)
def test_people_are_warned_before_alarms_sound(left: int, outlook: Outlook) -> None:
    found = expiry([ca(left)], NOW.timestamp())
    assert (found.outlook, found.end) == (outlook, NOW.timestamp() + left)
    assert bool(found.text) is (outlook is not Outlook.FINE)
    assert outlook is Outlook.FINE or "arcus ca rotate" in found.text


def test_a_chain_ends_with_the_first_of_it() -> None:
    found = expiry([ca(100 * 86_400), ca(86_400, "Old Root")], NOW.timestamp())
    assert found.outlook is Outlook.ALARM
    assert "expires on 2026-01-02 (the chain's CN=Old Root)" in found.text
