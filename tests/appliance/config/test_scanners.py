"""The scanners of the ICAP server in the configuration: the short form, several, and what is refused at its line."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from appliance.app import panel
from appliance.app.paths import StatePaths
from appliance.config.icap_server import IcapServer
from appliance.config.load import parse
from appliance.config.scanners import ClamdScanner
from appliance.domain.errors import ConfigError
from icap.server.scanners.clamd import ClamdScanner as Clamd
from icap.server.scanners.panel import Panel
from tests.e2e.running import base_config

CLAMD = {"type": "clamd", "tcp": "127.0.0.1:3310"}
RULE = {"name": "no-programs", "action": "block", "types": ["executable"]}


def node(**more: Any) -> IcapServer:
    return IcapServer.model_validate({"listen": {"address": "127.0.0.1:1344"}, **more})


def test_icp_13_one_scanner_is_itself_and_several_are_a_panel(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path)
    assert isinstance(panel.build(node(scanner=CLAMD), paths), Clamd)
    assert isinstance(panel.build(node(scanners=[CLAMD]), paths), Clamd)
    kinds = [
        {"type": "clamd", "endpoints": [{"tcp": "127.0.0.1:3310"}, {"socket": "/run/x"}]},
        {"type": "hashes", "files": ["/x"], "max_entries": 5},
        {"type": "types", "rules": [RULE]},
        {"type": "yara", "directory": "/y"},
    ]
    built = panel.build(node(scanners=kinds), paths)
    assert isinstance(built, Panel)
    assert [line.partition(":")[0] for line in built.fingerprint.splitlines()] == ["clamd", "hashes", "types", "yara"]


@pytest.mark.parametrize("more", [{}, {"scanner": CLAMD, "scanners": [CLAMD]}, {"scanners": []}])
def test_either_form_and_not_both(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="give scanner or scanners"):
        node(**more)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (RULE | {"types": ["programs"]}, "not a file type: 'programs'"),
        ({"name": "all", "action": "block"}, "a rule without conditions would block every body"),
        (RULE | {"content_types": ["Image/png"]}, "not a content type"),
        (RULE | {"extensions": [".exe"]}, "pattern"),
        (RULE | {"action": "warn"}, "'allow' or 'block'"),
    ],
)
def test_a_rule_that_cannot_be_meant(rule: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        node(scanners=[{"type": "types", "rules": [rule]}])


def test_the_managed_clamd_is_replaced_where_it_stands(tmp_path: Path) -> None:
    given = node(scanners=[CLAMD, {"type": "clamd", "name": "own", "managed": True}])
    assert given.clamd is not None
    assert given.clamd.name == "own"
    chosen = given.with_clamd(given.clamd.model_copy(update={"socket": tmp_path, "managed": False}))
    assert [each.name for each in chosen.scanners] == ["clamd", "own"]
    assert isinstance(chosen.scanners[1], ClamdScanner)
    assert chosen.scanners[1].socket == tmp_path


@pytest.mark.parametrize(
    ("scanners", "told"),
    [
        ([CLAMD, CLAMD], "two scanners are called 'clamd'"),
        ([{"type": "clamd"}], "give socket or tcp, or set managed: true"),
        ([CLAMD | {"endpoints": [{"tcp": "127.0.0.1:1"}]}], "give endpoints alone"),
        ([{"type": "clamd", "managed": True}, {"type": "clamd", "name": "b", "managed": True}], "one clamd can be managed"),
        ([{"type": "hashes", "files": ["/nowhere/list"]}], "/nowhere/list: no such file"),
        ([{"type": "yara", "directory": "/nowhere"}], "/nowhere: no such directory"),
    ],
)
def test_what_the_check_names(tmp_path: Path, scanners: list[Any], told: str) -> None:
    given = base_config(tmp_path, icap_server={"listen": {"address": "127.0.0.1:1344"}, "scanners": scanners})
    with pytest.raises(ConfigError) as caught:
        parse(json.dumps(given), file="arcus.yaml", base=tmp_path)
    assert told in str(caught.value)
