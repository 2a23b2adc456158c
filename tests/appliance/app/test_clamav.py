"""A clamd of our own is started only where none answers."""

from pathlib import Path

from appliance.app.clamav import with_running_clamd
from appliance.config.root import AppConfig
from appliance.config.scanners import ClamdScanner
from tests.e2e.running import base_config
from tests.servers import clamd


def config(directory: Path, **scanner: object) -> AppConfig:
    icap = {"listen": {"address": "127.0.0.1:0"}, "scanner": {"type": "clamd", "managed": True, **scanner}}
    return AppConfig.model_validate(base_config(directory, icap_server=icap))


def chosen(given: AppConfig, system: Path) -> ClamdScanner:
    icap = with_running_clamd(given, system).icap_server
    assert icap is not None
    assert icap.clamd is not None
    return icap.clamd


def test_icp_12_a_clamd_that_runs_is_used(tmp_path: Path) -> None:
    with clamd() as running:
        found = chosen(config(tmp_path), Path(running.socket))
        assert (found.managed, found.socket) == (False, Path(running.socket))
        found = chosen(config(tmp_path, socket=str(running.socket)), tmp_path / "none")
        assert (found.managed, found.socket) == (False, Path(running.socket))


def test_icp_12_where_none_answers_ours_is_started(tmp_path: Path) -> None:
    stale = tmp_path / "stale.sock"
    stale.touch()
    for given in (config(tmp_path), config(tmp_path, socket=str(stale))):
        found = chosen(given, stale)
        assert (found.managed, found.socket) == (True, None)


def test_an_unmanaged_scanner_is_left_as_it_is(tmp_path: Path) -> None:
    given = config(tmp_path, managed=False, socket=str(tmp_path / "x"))
    assert with_running_clamd(given, tmp_path / "none") is given
