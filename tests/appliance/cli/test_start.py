"""A command loads what it needs: libraries that it has no use for are half a second of CPU, each time it is called."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.appliance.config.base import BASE

PROBE = """
import json, sys
from appliance.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
print("\\n" + json.dumps(sorted(sys.modules)))
"""
TRAFFIC = ("mitmproxy", "sqlalchemy", "starlette", "uvicorn", "redis", "uvloop", "hypothesis")
CONFIGURATION = ("ruamel", "cryptography", "OpenSSL", "asyncio", "appliance.config")


def loaded(*arguments: str | Path) -> set[str]:
    """Modules that a command has loaded, and the packages that they are in."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stderr
    names = json.loads(done.stdout.splitlines()[-1])
    return {".".join(name.split(".")[:depth]) for name in names for depth in (1, 2, 3)}


@pytest.mark.parametrize(
    ("arguments", "unused"),
    [
        (("--help",), (*TRAFFIC, *CONFIGURATION, "pydantic")),
        (("version",), (*TRAFFIC, *CONFIGURATION)),
        (("explain", "--help"), (*TRAFFIC, *CONFIGURATION)),
        (("ca", "--help"), (*TRAFFIC, *CONFIGURATION)),
        (("exclusion", "list", "--shipped"), TRAFFIC),
    ],
    ids=" ".join,
)
def test_a_command_without_a_configuration_loads_none_of_it(arguments: tuple[str, ...], unused: tuple[str, ...]) -> None:
    more = ("-c", "/nowhere.yaml") if "--shipped" in arguments else ()
    assert loaded(*arguments, *more).isdisjoint(unused)


def test_explain_loads_rules_and_neither_traffic_nor_database_nor_certificates(tmp_path: Path) -> None:
    file = tmp_path / "arcus.yaml"
    file.write_text(BASE)
    found = loaded("explain", "https://x.test/", "--client", "192.0.2.1", "-c", file)
    assert found.isdisjoint((*TRAFFIC, "cryptography", "OpenSSL", "appliance.engine", "addons"))
    assert "appliance.policy" in found, "the probe sees what is loaded"


def test_ca_show_loads_no_database_and_no_traffic(tmp_path: Path) -> None:
    file = tmp_path / "arcus.yaml"
    file.write_text(BASE)
    assert loaded("ca", "init", "-c", file).isdisjoint(TRAFFIC)
    assert loaded("ca", "show", "-c", file).isdisjoint(TRAFFIC)
