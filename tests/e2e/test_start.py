"""`arcus run` with what cannot be used: it ends at once, says what and where, and leaves nothing behind."""

import contextlib
import datetime
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from ruamel.yaml import YAML

from appliance.config.load import load
from appliance.domain.errors import ConfigError
from tests.e2e import origins
from tests.e2e.running import ROOT, base_config, running
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-start")]

type Config = dict[str, Any]


def written(directory: Path, config: Config) -> Path:
    path = directory / "arcus.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(config, file)
    return path


def start(directory: Path, config: Config) -> subprocess.CompletedProcess[str]:
    """The command with its output, once it has ended; it must end by itself."""
    command = [sys.executable, "-m", "appliance.cli", "run", "-c", str(written(directory, config))]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def refused(directory: Path, config: Config, *words: str) -> None:
    done = start(directory, config)
    assert done.returncode == 1, done
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr


@dataclass
class Made:
    """A CA in files."""

    certificate: Path
    key: Path

    @property
    def config(self) -> list[dict[str, str]]:
        return [{"name": "default", "certificate": str(self.certificate), "private_key": str(self.key)}]


def make_ca(directory: Path, stem: str, *, ca: bool = True, days: int = 365) -> Made:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, stem)])
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=400))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    made = Made(directory / f"{stem}.pem", directory / f"{stem}.key")
    made.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    made.key.touch(0o600)
    made.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


# -- the CA


def _mismatched(directory: Path) -> Made:
    return Made(make_ca(directory, "one").certificate, make_ca(directory, "two").key)


def _garbage(directory: Path) -> Made:
    made = make_ca(directory, "one")
    made.certificate.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    return made


def _missing(directory: Path) -> Made:
    made = make_ca(directory, "one")
    made.key.unlink()
    return made


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_mismatched, ("two.key", "does not belong")),
        (lambda directory: make_ca(directory, "old", days=-1), ("old.pem", "expired")),
        (lambda directory: make_ca(directory, "leaf", ca=False), ("leaf.pem", "CA")),
        (_garbage, ("one.pem",)),
        (_missing, ("one.key",)),
    ],
    ids=["key of another", "expired", "not a CA", "not a certificate", "no key"],
)
def test_tls_09_a_ca_that_cannot_sign_stops_the_start(
    tmp_path: Path, make: Callable[[Path], Made], words: tuple[str, ...]
) -> None:
    refused(tmp_path, base_config(tmp_path / "state", ca=make(tmp_path).config), *words)


def test_tls_09_a_ca_in_the_state_directory_that_was_damaged(tmp_path: Path) -> None:
    """It is not replaced by a new one without a word: clients trust the old one."""
    config = base_config(tmp_path / "state")
    with running(config, tmp_path) as arcus:
        kept = arcus.ca().read_bytes()
    key = next((tmp_path / "state" / "ca" / "default").glob("*key*"))
    key.write_bytes(b"damaged")
    refused(tmp_path, config, key.name)
    assert (tmp_path / "state" / "ca" / "default" / "ca.pem").read_bytes() == kept


# -- ports


@pytest.mark.parametrize("section", ["server", "admin"])
def test_srv_11_port_in_use(tmp_path: Path, section: str) -> None:
    config = base_config(tmp_path / "state")
    node = config["server"][0] if section == "server" else config["admin"]
    host, _, port = node["listen"]["address"].rpartition(":")
    with socket.create_server((host, int(port))):
        refused(tmp_path, config, section, f"{host}:{port}", "in use")


@pytest.mark.security
def test_srv_11_one_appliance_on_a_private_directory_and_its_ports_come_back(tmp_path: Path) -> None:
    """A second one is refused while the first runs; files are for their owner only; a restart finds its ports free."""
    config = base_config(tmp_path / "state")
    (tmp_path / "second").mkdir()
    with running(config, tmp_path):
        refused(tmp_path / "second", base_config(tmp_path / "state"), "another Arcus is running")
        paths = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
        assert [path for path in paths if path.stat(follow_symlinks=False).st_mode & 0o077] == []
    with origins.origin() as origin, running(config, tmp_path) as arcus:
        assert arcus.curl(f"{origin.url}/again").status == 200


# -- keys and references


def _set(path: str, value: Any) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        node: Any = config
        *parents, last = path.split(".")
        for name in parents:
            node = node[int(name)] if name.isdigit() else node[name]
        node[last] = value

    return change


WRONG: list[tuple[str, Callable[[Config], None], tuple[str, ...]]] = [
    ("unknown key", _set("serverr", []), ("serverr", "unknown key")),
    ("unknown key deep down", _set("server.0.timeouts", {"handshak": "1s"}), ("server[explicit].timeouts", "handshak")),
    ("address without a port", _set("server.0.listen.address", "127.0.0.1"), ("server[explicit].listen.address", "127.0.0.1")),
    ("name instead of an address", _set("server.0.listen.address", "a b:8080"), ("server[explicit].listen.address",)),
    ("unknown escaper", _set("tenant.0.escaper", "nowhere"), ("tenant[default].escaper", "nowhere")),
    ("unknown auditor", _set("tenant.0.auditor", "nobody"), ("tenant[default].auditor", "nobody")),
    ("unknown user group", _set("server.0.user_group", "nobody"), ("server[explicit].user_group", "nobody")),
    ("unknown CA", _set("tenant.0.ca", "none"), ("tenant[default].ca", "none")),
    ("unknown type", _set("server.0.type", "ftp_proxy"), ("server[explicit]", "ftp_proxy")),
    ("negative time", _set("server.0.timeouts", {"header": -1}), ("server[explicit].timeouts.header",)),
    ("remote admin", _set("admin.listen.address", "0.0.0.0:9090"), ("admin",)),
    ("open proxy", _set("server.0.listen.address", f"0.0.0.0:{free_port()}"), ("open proxy",)),
]


@pytest.mark.parametrize(("change", "words"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_srv_11_srv_12_wrong_configuration_is_told_with_its_place(
    tmp_path: Path, change: Callable[[Config], None], words: tuple[str, ...]
) -> None:
    config = base_config(tmp_path / "state")
    change(config)
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, config))
    text = str(caught.value)
    for word in ("arcus.yaml:", *words):
        assert word in text


def test_srv_11_srv_12_wrong_configuration_starts_nothing_and_writes_nothing(tmp_path: Path) -> None:
    config = base_config(tmp_path / "state", serverr=[])
    config["server"][0]["listen"]["address"] = "127.0.0.1"
    refused(tmp_path, config, "arcus.yaml:", "serverr", "unknown key", "server[explicit].listen.address")
    assert not (tmp_path / "state").exists()


def test_srv_11_two_servers_of_one_name(tmp_path: Path) -> None:
    config = base_config(tmp_path / "state")
    config["server"].append(config["server"][0] | {"listen": {"address": f"127.0.0.1:{free_port()}"}})
    refused(tmp_path, config, "explicit")


def test_srv_11_a_state_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    refused(tmp_path, base_config(tmp_path / "state"), "state_dir")


def test_srv_11_stops_within_five_seconds_and_leaves_no_process(tmp_path: Path) -> None:
    """Ctrl-C, with a connection that is open."""
    with running(base_config(tmp_path / "state", workers=2), tmp_path) as arcus:
        children = [*arcus.child_pids("worker"), *arcus.child_pids("admin")]
        assert len(children) == 3
        with socket.create_connection(("127.0.0.1", arcus.port("explicit"))):
            arcus.process.send_signal(signal.SIGINT)
            assert arcus.process.wait(15) == 0
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 0)
                raise AssertionError(f"process {pid} is left")
