"""C21, TLS-08: what runs as the same user as the signer, and what a worker can do in which an attacker runs code of his own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.appliance.test_landlock import WHY_NOT
from tests.e2e.running import ROOT, base_config, running, wait_until

pytestmark = [pytest.mark.security, pytest.mark.e2e, pytest.mark.xdist_group("e2e-ca-key")]

WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
"""Root's number and nothing of root's power: an account that owns all the files of the appliance, as its own account does."""
LOOK = """
import ctypes, json, sys
told = {}
for pid in sys.argv[1:]:
    found = []
    for name in ("mem", "maps", "environ"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                if name != "mem":
                    file.read(1)
            found.append(name)
        except PermissionError:
            pass
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(0x4206, int(pid), 0, 0) == 0:  # PTRACE_SEIZE stops nobody
        found.append("ptrace")
    told[pid] = found
print(json.dumps(told))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to take its rights away")
def test_tls_08_nobody_of_the_same_account_looks_into_any_process_of_ours(tmp_path: Path) -> None:
    """Memory, its map, the environment, a debugger: none. A process that is not closed up shows all of them."""
    with running(base_config(tmp_path / "state"), tmp_path, prefix=WITHOUT_RIGHTS) as arcus:
        ours = [arcus.process.pid, *(pid for kind in ("signer", "worker", "admin") for pid in arcus.child_pids(kind))]
        assert len(ours) == 4
        other = subprocess.Popen([*WITHOUT_RIGHTS, "sleep", "60"])
        try:
            wait_until(lambda: b"sleep" in Path(f"/proc/{other.pid}/cmdline").read_bytes()[:6], what="sleep runs")
            command = [*WITHOUT_RIGHTS, sys.executable, "-c", LOOK, *map(str, [*ours, other.pid])]
            told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
        finally:
            other.kill()
            other.wait()
    assert told.pop(str(other.pid)) == ["mem", "maps", "environ", "ptrace"], "the look itself works"
    assert told == {str(pid): [] for pid in ours}


ATTACK = """
def _attack(config: AppConfig) -> None:
    import json, os
    from pathlib import Path
    state, told = config.state_dir, {}
    def tried(name, what):
        try:
            what()
            told[name] = "done"
        except OSError as error:
            told[name] = error.strerror
    parent = os.getppid()
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    signer = next(pid for pid in children if b"\\0signer\\0" in Path(f"/proc/{pid}/cmdline").read_bytes())
    tried("the key", (state / "ca/default/ca.key").read_bytes)
    tried("the key, moved", lambda: os.rename(state / "ca/default/ca.key", state / "run/key"))
    tried("the key of the forward-untrust CA", (state / "untrusted-ca/forward-untrust/ca.key").read_bytes)
    tried("the memory of the signer", lambda: open(f"/proc/{signer}/mem", "rb").close())
    tried("the certificate", (state / "ca/default/ca.pem").read_bytes)
    (state / "run" / "attack.json").write_text(json.dumps(told))
"""


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "-")
def test_tls_08_a_worker_that_was_taken_over_reads_neither_key_nor_signer(tmp_path: Path) -> None:
    """The worker's own code is changed to try it. Here it is root, who would be let into everything."""
    home = tmp_path / "code"
    home.mkdir()
    for package in ("appliance", "addons", "certs", "icap"):
        subprocess.run(["cp", "-r", str(ROOT / package), str(home)], check=True)
    module = home / "appliance" / "app" / "worker.py"
    code, before = module.read_text(), "    await stage.enter()\n"
    assert code.count("        await stage.enter()\n") == 1
    module.write_text(code.replace("        await stage.enter()\n", f"    {before}        _attack(config)\n") + ATTACK)
    shown = {"causes": {"untrusted": "untrusted_ca"}}
    auditor = {"name": "inspect", "tls_interception": {"upstream_certificates": shown}}
    with running(base_config(tmp_path / "state", auditor=[auditor]), tmp_path, root=home) as arcus:
        file = arcus.state / "run" / "attack.json"
        told = json.loads(wait_until(lambda: file.exists() and file.read_text(), what="the attack"))
        health = arcus.state / "run" / "health-worker-0.json"
        keys = wait_until(lambda: json.loads(health.read_text())["components"].get("ca_keys"), what="the worker's health")
        assert (arcus.state / "ca" / "default" / "ca.key").exists()
    denied = {name for name, result in told.items() if result in ("Permission denied", "Invalid cross-device link")}
    assert denied == {"the key", "the key, moved", "the key of the forward-untrust CA", "the memory of the signer"}
    assert told["the certificate"] == "done"
    assert keys["detail"] == "out of reach"
