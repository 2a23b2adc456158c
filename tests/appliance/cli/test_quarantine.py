"""`arcus quarantine`: what is shown, and that release and delete need a reason and overwrite nothing."""

import json
from pathlib import Path

import pytest

from tests.appliance.cli.conftest import Arcus
from tests.appliance.quarantine.place import Place


@pytest.fixture
def kept(config: Path) -> str:
    place = Place(config.parent / "state", keys="keys/quarantine")
    (place.root / "spool").mkdir(parents=True)
    return place.keep(b"virus" * 20_000, "blue")[0]


def acts(config: Path) -> list[dict[str, str]]:
    files = sorted((config.parent / "state" / "spool").glob("*.seg"))
    return [json.loads(line)["act"] for file in files for line in file.read_text().splitlines()]


def test_list_and_show(arcus: Arcus, config: Path, kept: str) -> None:
    listed = arcus("quarantine", "list", "-c", config)
    assert kept in listed.out
    assert "Eicar" in listed.out
    (item,) = json.loads(arcus("quarantine", "list", "--json", "-c", config).out)
    assert item == json.loads(arcus("quarantine", "show", kept, "--json", "-c", config).out)
    assert (item["tenant"], item["size"], item["user"]) == ("blue", 100_000, "bob")
    assert "bad.test" in arcus("quarantine", "show", kept, "-c", config).out
    other = arcus("quarantine", "show", kept, "--tenant", "default", "-c", config)
    assert (other.code, other.out) == (1, "")
    assert acts(config) == []


@pytest.mark.security
def test_release_writes_a_new_file_for_its_owner_and_tells_why(arcus: Arcus, config: Path, kept: str, tmp_path: Path) -> None:
    to = tmp_path / "sample.bin"
    step = ("quarantine", "release", kept, "--to", to, "-c", config)
    assert arcus(*step).code == 2, "a reason is needed"
    assert arcus(*step, "--reason", " ").code == 1
    assert not to.exists()
    assert arcus(*step, "--reason", "for the vendor").code == 0
    assert (to.read_bytes(), to.stat().st_mode & 0o777) == (b"virus" * 20_000, 0o600)
    to.write_bytes(b"mine")
    again = arcus(*step, "--reason", "once more")
    assert (again.code, to.read_bytes()) == (1, b"mine")
    assert [(act["verb"], act["subject"], act["note"]) for act in acts(config)] == [("released", kept, "for the vendor")]


def test_delete(arcus: Arcus, config: Path, kept: str) -> None:
    assert arcus("quarantine", "delete", kept, "-c", config).code == 2
    assert arcus("quarantine", "delete", kept, "--reason", "ticket 1", "-c", config).code == 0
    assert "nothing is in quarantine" in arcus("quarantine", "list", "-c", config).out
    assert arcus("quarantine", "delete", kept, "--reason", "ticket 1", "-c", config).code == 1
    assert [act["verb"] for act in acts(config)] == ["deleted"]
