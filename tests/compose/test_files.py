"""The files for operators are what their programs accept."""

import configparser
import os
import subprocess
from pathlib import Path

import pytest

COMPOSE = Path(__file__).parents[2] / "compose"


@pytest.mark.netns
@pytest.mark.parametrize("name", ["redirect.nft", "tproxy.nft"])
def test_srv_07_the_nft_rules_load(name: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("nft needs root, even to check")
    command = ["unshare", "--net", "nft", "--check", "--file", str(COMPOSE / "nft" / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_unit_runs_commands_that_exist() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign, assignment]
    unit.read(COMPOSE / "systemd" / "arcus.service")
    service = unit["Service"]
    assert service["ExecStart"].split()[1:3] == ["run", "-c"]
    assert service["ExecStartPre"].split()[1:3] == ["check", "-c"]
    assert int(service["TimeoutStopSec"]) > 30
