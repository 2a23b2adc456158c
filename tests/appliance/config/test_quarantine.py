"""The node ``quarantine``: off unless tenants are named, and what it refuses."""

import pytest

from appliance.config.quarantine import Quarantine
from appliance.domain.errors import ConfigError
from tests.appliance.config.base import BASE, changed, loads


def node(text: str, base: str = BASE) -> Quarantine:
    return loads(f"{base}quarantine: {text}\n").config.quarantine


def test_nothing_is_kept_unless_it_is_asked_for() -> None:
    assert loads(BASE).config.quarantine.tenants == []
    made = node("{tenants: [blue], max_size: 1M, max_age: 1d}")
    assert (made.tenants, made.max_size, made.max_age) == (["blue"], 1 << 20, 86_400.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{tenants: [nobody]}", "nobody"),
        ("{tenants: [../blue]}", "a name has"),
        ("{tenants: [blue], max_size: 0}", "greater than or equal to 1"),
        ("{tenants: [blue], max_age: 59s}", "60"),
        ("{tenants: [blue], max_items: 0}", "1"),
        ("{tenant: blue}", "tenant"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        node(text)
    assert message in str(error.value)


def test_somebody_has_to_delete_what_is_too_old() -> None:
    without = changed(('admin:\n  listen: {address: "127.0.0.1:9090"}\n', ""))
    assert node("{tenants: []}", without).tenants == []
    with pytest.raises(ConfigError, match="configure admin"):
        node("{tenants: [blue]}", without)
