"""What the bench gives to the programs that it measures is what they accept."""

import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.config.load import parse
from bench import arcus_config, squid_config


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    file = tmp_path / "roots.pem"
    file.write_bytes(squid_config.authority().partition(b"-----BEGIN PRIVATE")[0])
    return file


@pytest.mark.parametrize("clamd", [None, Path("/run/clamd.sock")])
def test_the_appliance_behind_a_redirection(tmp_path: Path, roots: Path, clamd: Path | None) -> None:
    text = arcus_config.text(tmp_path, 2, 2, roots, {"arcus-2.test": "10.99.1.2", "other.test": "10.99.1.3"}, clamd)
    config = parse(text, file="bench.yaml", base=tmp_path).config
    assert [tenant.tenant_id for tenant in config.tenant] == ["bench", "default"]
    assert len(config.resolver[0].hosts) == arcus_config.COLD + 2
    assert (config.icap_server is not None) is (clamd is not None)
    assert (config.auditor[0].icap_respmod_service is not None) is (clamd is not None)


@pytest.mark.skipif(shutil.which("squid", path="/usr/sbin:/usr/bin") is None, reason="no squid here")
@pytest.mark.parametrize("explicit", [True, False])
def test_squid(tmp_path: Path, roots: Path, explicit: bool) -> None:
    if explicit:
        squid_config.write_explicit(tmp_path, 18_000, roots)
    else:
        squid_config.write(tmp_path, 18_000, roots, "icap://127.0.0.1:1344/x", delay_pool=True)
    command = ["/usr/sbin/squid", "-k", "parse", "-f", str(tmp_path / "squid.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "ERROR" in line or "FATAL" in line], done.stderr
