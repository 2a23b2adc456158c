"""What a new configuration changes."""

from appliance.config.icap_server import ClamdScanner, IcapServer
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
    assert changes == ["removed server socks", "added server other"]
    assert restart == []


def test_cfg_10_sockets_and_processes_change_without_a_restart() -> None:
    changes, restart = _changes(("127.0.0.1:1080", "127.0.0.1:1081"), ("workers: 2", "workers: 3"))
    assert changes == ["changed server socks", "changed workers"]
    assert restart == []


def test_cfg_10_the_state_directory_and_a_clamd_of_our_own_need_a_restart() -> None:
    old = loads(BASE).config
    plan = compare(old, old.model_copy(update={"state_dir": old.state_dir / "elsewhere"}))
    assert [change.path for change in plan.restart] == ["state_dir"]
    scanner = ClamdScanner(type="clamd", managed=True)
    listen = {"address": "127.0.0.1:1344"}
    with_own = old.model_copy(update={"icap_server": IcapServer.model_validate({"listen": listen, "scanner": scanner})})
    assert [change.path for change in compare(old, with_own).restart] == ["icap_server.scanner"]
    other = with_own.model_copy(update={"icap_server": with_own.icap_server.model_copy(update={"preview": 7})})
    assert compare(with_own, other).restart == ()


def test_cfg_10_a_section_that_comes_or_goes() -> None:
    old = loads(BASE).config
    assert old.admin is not None
    without = old.model_copy(update={"admin": None})
    assert [str(change) for change in compare(old, without).changes] == ["removed admin"]
    assert [str(change) for change in compare(without, old).changes] == ["added admin"]
    assert compare(old, without).sections() == {"admin"}
