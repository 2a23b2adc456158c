"""Files that a process has given up for good, tried from inside it (TLS-08)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.landlock import NotClosed, close_files
from tests.e2e.running import ROOT

PROGRAM = """
import json, os, shutil, sys
from pathlib import Path
from appliance.landlock import close_files
home = Path(sys.argv[1])
close_files([home / "ca" / "main" / "ca.key", home / "ca" / "later" / "ca.key", home / "ca" / "linked" / "ca.key"])
told = {}

def tried(name, what):
    try:
        what()
        told[name] = "done"
    except OSError as error:
        told[name] = type(error).__name__

secret = home / "ca" / "main" / "ca.key"
tried("read", secret.read_bytes)
tried("through a link", lambda: (home / "run" / "link").read_bytes())
tried("by the name that it has elsewhere", (home / "vault" / "key").read_bytes)
tried("copy", lambda: shutil.copyfile(secret, home / "run" / "copy"))
tried("move", lambda: os.rename(secret, home / "run" / "moved"))
tried("hard link", lambda: os.link(secret, home / "run" / "linked"))
tried("move its folder", lambda: os.rename(home / "ca" / "main", home / "run" / "main"))
tried("a child of ours", lambda: os.posix_spawnp("cat", ["cat", str(secret)], {}))
(home / "ca" / "later").mkdir()
(home / "ca" / "later" / "ca.key").write_text("made later")
tried("made later", (home / "ca" / "later" / "ca.key").read_bytes)
tried("the certificate", (home / "ca" / "main" / "ca.pem").read_bytes)
tried("what others replace", lambda: ((home / "run" / "x").write_text("1"), os.replace(home / "run" / "x", home / "run" / "y"),
                                      (home / "run" / "y").read_text()))
tried("between folders", lambda: os.replace(home / "run" / "y", home / "spool" / "z"))
tried("the program's own files", lambda: __import__("colorsys"))
tried("the system's", Path("/etc/passwd").read_text)
print(json.dumps(told))
"""


def why_not() -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from appliance.landlock import close_files; close_files([])"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    return done.stderr.rpartition("NotClosed: ")[2].strip()


WHY_NOT = why_not()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for folder in ("ca/main", "ca/linked", "run", "spool", "vault"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ca/main/ca.key").write_text("secret")
    (tmp_path / "vault/key").write_text("secret")
    (tmp_path / "ca/linked/ca.key").symlink_to(tmp_path / "vault/key")
    (tmp_path / "ca/main/ca.pem").write_text("for all")
    (tmp_path / "run/link").symlink_to(tmp_path / "ca/main/ca.key")
    return tmp_path


@pytest.mark.security
@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "-")
def test_tls_08_a_key_that_was_given_up_cannot_be_read_by_any_way(home: Path) -> None:
    """Also as root, and whoever owns it; everything else goes on."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(home)], capture_output=True, text=True, cwd=ROOT, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert {name for name, result in told.items() if result == "done"} == {
        "a child of ours", "the certificate", "what others replace", "between folders", "the program's own files",
        "the system's",
    }  # fmt: skip
    assert "secret" not in done.stdout, "the child could not either"
    assert told["read"] == told["made later"] == told["by the name that it has elsewhere"] == "PermissionError"
    assert (home / "ca/main/ca.key").read_text() == "secret"
    assert not (home / "run/copy").exists() or (home / "run/copy").read_text() == ""


def test_nothing_is_closed_where_a_file_that_is_read_again_would_be_lost(tmp_path: Path) -> None:
    key = tmp_path / "state/ca/main/ca.key"
    with pytest.raises(NotClosed, match=r"hashes\.txt is in a folder above the keys"):
        close_files([key], [tmp_path / "lists/fine.txt", tmp_path / "hashes.txt"])


def test_nothing_is_closed_where_other_files_are_replaced_all_the_time() -> None:
    with pytest.raises(NotClosed, match="/etc"):
        close_files([Path("/etc/arcus/state/ca/main/ca.key")])
