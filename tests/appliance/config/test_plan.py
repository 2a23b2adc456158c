"""What a new configuration changes."""

from appliance.config.plan import compare
from tests.appliance.config.base import BASE, changed, loads


def _changes(*edits: tuple[str, str]) -> tuple[list[str], list[str]]:
    plan = compare(loads(BASE).config, loads(changed(*edits)).config)
    return [str(change) for change in plan.changes], [str(change) for change in plan.restart]


def test_cfg_10_nothing_changed() -> None:
    assert _changes() == ([], [])


def test_cfg_10_one_node_changed() -> None:
    assert _changes(("icap_timeout: 30s", "icap_timeout: 31s")) == (["changed auditor inspect"], [])


def test_cfg_10_renamed_is_removed_and_added() -> None:
    changes, restart = _changes(("  - name: socks", "  - name: other"))
    assert changes == restart == ["removed server socks", "added server other"]


def test_cfg_10_sockets_and_processes_need_a_restart() -> None:
    changes, restart = _changes(("127.0.0.1:1080", "127.0.0.1:1081"), ("workers: 2", "workers: 3"))
    assert changes == ["changed server socks", "changed workers"]
    assert restart == ["changed workers", "changed server socks"]


def test_cfg_10_a_listeners_limits_need_none() -> None:
    plan = compare(loads(BASE).config, loads(changed(('1080"}\n', '1080"}\n    max_connections: 5\n'))).config)
    assert plan.sections() == {"server"}
    assert plan.restart == ()
