"""D6: which lists a tenant's ledger is held against, and what a bad file does."""

from pathlib import Path

import pytest

from appliance.app.retro_lists import ConfiguredLists
from appliance.config.root import AppConfig
from tests.appliance.config.base import loads

ONE, TWO = "1" * 64, "2" * 64


def config(tmp_path: Path, listen: str = "127.0.0.1:1344", extra: str = "", more: str = "") -> AppConfig:
    own = tmp_path / "own.txt"
    own.write_text(f"{ONE} Own.One\n")
    return loads(
        f"""
ca: [{{name: default}}]
escaper: [{{name: direct, type: direct_fixed}}]
icap_server: {{listen: {{address: "{listen}"}}, scanners: [{{type: hashes, files: ["{own}"]}}]{more}}}
auditor:
  - {{name: ours, icap_respmod_service: "icap://localhost:1344/respmod"}}
  - {{name: secure, icap_respmod_service: "icaps://localhost:11344/respmod"}}
  - {{name: theirs, icap_respmod_service: "icap://scanner.test:1344/respmod"}}
  - {{name: ruled, icap_rules: [{{name: all, use: named}}]}}
icap_service: [{{name: named, uri: "icap://127.0.0.1:1344/respmod"}}]
tenant:
  - {{tenant_id: default, ca: default, auditor: ours}}
  - {{tenant_id: secure, ca: default, auditor: secure, match: {{networks: [10.0.0.0/24]}}}}
  - {{tenant_id: theirs, ca: default, auditor: theirs, match: {{networks: [10.0.1.0/24]}}}}
  - {{tenant_id: ruled, ca: default, auditor: ruled, match: {{networks: [10.0.2.0/24]}}}}
server: [{{name: explicit, type: http_proxy, escaper: direct, listen: {{address: "127.0.0.1:3128"}}}}]
admin: {{listen: {{address: "127.0.0.1:8080"}}}}
{extra}
"""
    ).config


def test_the_lists_of_our_own_server_count_for_whom_it_scans(tmp_path: Path) -> None:
    lists = ConfiguredLists(config(tmp_path))
    assert (lists.ready, lists.find("default", ONE)) == (False, None)
    lists.refresh()
    hit = lists.find("default", ONE)
    assert lists.ready
    assert hit is not None
    assert (hit.signature, hit.by, hit.engine.partition(".")[0]) == ("Own.One", "list hashes", "hashes/1")
    assert lists.find("ruled", ONE) == hit
    assert [lists.find(tenant, ONE) for tenant in ("theirs", "secure", "nobody")] == [None] * 3
    assert (lists.version("default") != "", lists.version("theirs"), lists.find("default", TWO)) == (True, "", None)


def test_a_server_on_all_addresses_is_asked_at_loopback(tmp_path: Path) -> None:
    lists = ConfiguredLists(config(tmp_path, "0.0.0.0:1344"))
    lists.refresh()
    assert [lists.find(tenant, ONE) is not None for tenant in ("default", "theirs")] == [True, False]


def test_further_lists_count_for_all(tmp_path: Path) -> None:
    file = tmp_path / "further.txt"
    file.write_text(f"{TWO}\n")
    lists = ConfiguredLists(config(tmp_path, extra=f'retro: {{hashes: ["{file}"]}}'))
    lists.refresh()
    before = lists.version("theirs")
    hit = lists.find("theirs", TWO)
    assert hit is not None
    assert hit.by == "list retro.hashes"
    assert lists.version("default").startswith(before + "+")
    file.write_text(f"{TWO}\n{ONE} Also\n")
    lists.refresh()
    assert lists.version("theirs") != before
    assert lists.find("theirs", ONE) is not None


@pytest.mark.parametrize("text", ["nonsense\n", f"{TWO}\n{ONE}\n"])
def test_a_bad_file_leaves_the_list_as_it_was_and_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "further.txt"
    file.write_text(f"{TWO}\n")
    lists = ConfiguredLists(config(tmp_path, extra=f'retro: {{hashes: ["{file}"], max_entries: 1}}'))
    lists.refresh()
    file.write_text(text)
    lists.refresh()
    assert lists.find("theirs", TWO) is not None
    assert f"{file}:" in lists.flaw
    file.unlink()
    lists.refresh()
    assert lists.find("theirs", TWO) is not None
    assert lists.flaw


def test_without_lists_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    made = config(tmp_path).model_copy(update={"icap_server": None})
    assert ConfiguredLists(made).ready
