"""Downloads that are waited for on a page, joined from the configuration (C7)."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from appliance.app.paths import StatePaths
from appliance.app.patience import Downloads, patient
from appliance.config.load import parse
from appliance.config.root import AppConfig
from appliance.domain.clock import SystemClock
from appliance.domain.errors import ConfigError
from appliance.domain.reason import Reason
from appliance.patience.download import Label
from appliance.telemetry.metrics import Metrics
from tests.appliance.patience.bodies import ALICE, Held, Task
from tests.e2e.running import base_config


def config(state: Path, large: dict[str, Any]) -> AppConfig:
    state.mkdir(exist_ok=True)
    StatePaths(state).create()
    made = base_config(state, auditor=[{"name": "inspect", "large_bodies": large}])
    return parse(json.dumps(made), file="test", base=state).config


@pytest.fixture
def patience(tmp_path: Path) -> AppConfig:
    return config(tmp_path / "state", {"patience": {"after": 1}})


def begun(downloads: Downloads, made: AppConfig) -> tuple[Any, Task]:
    task = Task()
    page = patient(made)["default"][1]
    download = downloads.shelf.begin(ALICE, Label("n", "u", None), Held(b"x", ended=True), task, page)
    assert download is not None
    return download, task


async def test_without_the_setting_nothing_is_made(tmp_path: Path) -> None:
    made = config(tmp_path / "state", {})
    downloads = Downloads(made, SystemClock())
    downloads.start()
    assert not StatePaths(made.state_dir).patience_key.exists()
    assert not list(StatePaths(made.state_dir).run.glob("*.patience"))
    assert not downloads.desk.serves("default", "/.well-known/arcus/download")
    await downloads.close()


async def test_a_worker_has_a_socket_while_it_runs(patience: AppConfig) -> None:
    downloads, metrics = Downloads(patience, SystemClock()), Metrics()
    downloads.start()
    paths = StatePaths(patience.state_dir)
    assert paths.patience_key.stat().st_mode & 0o777 == 0o600
    assert len(list(paths.run.glob("*.patience"))) == 1
    assert downloads.desk.serves("default", "/.well-known/arcus/download/file")
    assert not downloads.desk.serves("other", "/.well-known/arcus/download")
    assert not downloads.desk.serves("default", "/.well-known/arcus/download/else")
    _, task = begun(downloads, patience)
    downloads.sample(metrics)
    assert 'arcus_downloads_held{state="receiving"} 1' in metrics.exposition().decode()
    await downloads.close()
    assert task.records == [(Reason.SHUTTING_DOWN, 0)]
    assert not list(paths.run.glob("*.patience"))


@pytest.mark.security
def test_a_key_that_others_may_read_is_refused(patience: AppConfig) -> None:
    Downloads(patience, SystemClock())
    StatePaths(patience.state_dir).patience_key.chmod(0o644)
    with pytest.raises(ConfigError, match="readable by others"):
        Downloads(patience, SystemClock())


async def test_a_worker_that_was_replaced_waits_for_what_is_fetched(patience: AppConfig) -> None:
    downloads = Downloads(patience, SystemClock())
    download, task = begun(downloads, patience)
    download.ready(Held(b"x", ended=True), ())
    await downloads.drained(lambda: 0.0)
    waiting = asyncio.ensure_future(downloads.drained(lambda: 0.01 if task.records else 100.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    download.sent(0, 1)
    await asyncio.wait_for(waiting, 30)
    await downloads.close()
