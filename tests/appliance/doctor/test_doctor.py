"""Faults put in one by one, each with its finding."""

import fcntl
import json
import socket
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.config.root import AppConfig
from appliance.doctor import Finding, Level, health, parts, ports, scanning, state
from appliance.domain.clock import ManualClock, SystemClock
from appliance.telemetry.health import HealthWriter, State
from certs.authority import load_or_create
from certs.expiry import DAY
from tests.appliance.config.base import changed, loads
from tests.ports import free_port
from tests.servers import c_icap, clamd


def _levels(findings: list[Finding]) -> list[Level]:
    return [finding.level for finding in findings]


@pytest.fixture
def config(tmp_path: Path) -> AppConfig:
    """Free ports, and a state directory in order."""
    edits = [(f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}") for port in (8080, 1080, 9090)]
    (tmp_path / "state").mkdir(mode=0o700)
    return loads(changed(*edits), tmp_path).config


def test_python_and_mitmproxy_as_installed(config: AppConfig) -> None:
    assert _levels([*parts.python(config), *parts.mitmproxy(config)]) == [Level.OK, Level.OK]


def _package(folder: Path, version: str, files: dict[str, str]) -> Distribution:
    info = folder / f"mitmproxy-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mitmproxy\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in files))
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return Distribution.at(info)


@pytest.mark.security
@pytest.mark.parametrize(
    ("version", "files", "words"),
    [
        ("12.3.1", {"mitmproxy/options.py": "x = 1\n"}, ["12.3.1, where 12.2.3 is pinned"]),
        ("12.2.3", {"mitmproxy/options.py": 'add("emudhra_sign")\n'}, ["mitmproxy/options.py speaks of emudhra"]),
        ("12.2.3", {"mitmproxy/x.pem": "-----BEGIN PRIVATE KEY-----\nx\n"}, ["mitmproxy/x.pem holds a private key"]),
        ("12.2.3", {}, ["12.2.3, no key of a foreign CA in it"]),
    ],
)
def test_a_mitmproxy_that_must_not_run(tmp_path: Path, version: str, files: dict[str, str], words: list[str]) -> None:
    findings = list(parts.examine_package(_package(tmp_path, version, files)))
    assert len(findings) == len(words)
    assert all(finding.detail.startswith(word) for finding, word in zip(findings, words, strict=True))
    assert (Level.FAIL in _levels(findings)) is (len(files) > 0)


def test_ca_absent_good_soon_expired_and_broken(config: AppConfig) -> None:
    assert _levels(list(state.authorities(config))) == [Level.WARN]
    load_or_create(config.state_dir / "ca", "main", "Test CA", validity_days=100)
    assert _levels(list(state.authorities(config))) == [Level.OK]
    now = SystemClock().now()
    for days, level in ((50, Level.WARN), (101, Level.FAIL)):
        assert _levels(list(state.authorities(config, ManualClock(now + days * DAY)))) == [level]
    (config.state_dir / "ca" / "main" / "ca.pem").write_text("nonsense")
    [broken] = state.authorities(config)
    assert (broken.level, "holds no certificate" in broken.detail) == (Level.FAIL, True)


@pytest.mark.security
def test_modes_of_the_state_directory(config: AppConfig) -> None:
    load_or_create(config.state_dir / "ca", "main", "Test CA")
    assert _levels(list(state.directory(config))) == [Level.OK]
    key = config.state_dir / "ca" / "main" / "ca.key"
    key.chmod(0o644)
    config.state_dir.chmod(0o755)
    findings = list(state.directory(config))
    assert _levels(findings) == [Level.FAIL, Level.FAIL]
    assert findings[1].hint == f"chmod go= {key}"


def test_ports_free_taken_and_ours(config: AppConfig) -> None:
    assert _levels(list(ports.examine(config))) == [Level.OK] * 3
    address = config.server[0].listen.address
    with socket.create_server((address.host, address.port)):
        findings = list(ports.examine(config))
        assert _levels(findings) == [Level.FAIL, Level.OK, Level.OK]
        assert findings[0].detail == f"{address} is in use by another program"
        (config.state_dir / "run").mkdir()
        with (config.state_dir / "run" / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # the appliance runs: its port in use is right, and a free one is wrong
            assert _levels(list(ports.examine(config))) == [Level.OK, Level.FAIL, Level.FAIL]


def test_what_runs_says_itself_what_is_wrong(config: AppConfig) -> None:
    """D3: nothing while nothing runs, whatever files an earlier run has left."""
    run = config.state_dir / "run"
    writer, clock = HealthWriter(run, "admin"), SystemClock()
    writer.set("coverage", State.DEGRADED, "acme: 60% of 10 MB not scanned")
    assert list(health.examine(config, clock)) == []
    with (run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        [found] = health.examine(config, clock)
        assert (found.level, found.detail) == (Level.WARN, "coverage: acme: 60% of 10 MB not scanned (admin)")
        writer.set("coverage", State.OK)
        assert _levels(list(health.examine(config, clock))) == [Level.OK]
        writer.set("clamd", State.UNHEALTHY, "not installed")
        assert _levels(list(health.examine(config, clock))) == [Level.FAIL]
        assert _levels(list(health.examine(config, ManualClock(clock.now() + 3600)))) == [Level.FAIL, Level.FAIL]


def _with_icap(config: AppConfig, tmp_path: Path, scanner: str) -> AppConfig:
    port = free_port()
    icap = f'icap_server:\n  listen: {{address: "127.0.0.1:{port}"}}\n  scanner: {scanner}\nadmin:'
    return loads(
        changed(("admin:", icap), ("icap_timeout: 30s", f"icap_respmod_service: icap://127.0.0.1:{port}/respmod")), tmp_path
    ).config


@pytest.mark.integration
async def test_icp_scanning_with_our_own_server_started_for_the_moment(config: AppConfig, tmp_path: Path) -> None:
    with clamd() as scanner:
        [finding] = await scanning.examine(_with_icap(config, tmp_path, f"{{type: clamd, socket: {scanner.socket}}}"))
    assert (finding.level, "EICAR is found" in finding.detail) == (Level.OK, True)


@pytest.mark.integration
async def test_icp_scanning_without_clamd(config: AppConfig, tmp_path: Path) -> None:
    [finding] = await scanning.examine(_with_icap(config, tmp_path, f"{{type: clamd, socket: {tmp_path}/none.sock}}"))
    assert finding.level is Level.FAIL


async def test_icp_no_service_is_a_warning(config: AppConfig) -> None:
    assert _levels(await scanning.examine(config)) == [Level.WARN]


async def test_icp_a_managed_clamd_that_does_not_run_is_a_warning(config: AppConfig, tmp_path: Path) -> None:
    assert _levels(await scanning.examine(_with_icap(config, tmp_path, "{type: clamd, managed: true}"))) == [Level.WARN]


def test_the_command_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edits = [(f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}") for port in (8080, 1080, 9090)]
    (tmp_path / "arcus.yaml").write_text(changed(*edits))
    with pytest.raises(SystemExit) as end:
        main(["doctor", "-c", str(tmp_path / "arcus.yaml"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {each["level"] for each in found} <= {"ok", "warn", "fail"}
    assert {each["what"] for each in found} >= {
        "python",
        "mitmproxy",
        "state directory",
        "CA main",
        "disk",
        "scanning",
        "port of admin",
    }
    assert (end.value.code or 0) == int(any(each["level"] == "fail" for each in found))


def _named(tmp_path: Path, *services: str, use: str = "all") -> AppConfig:
    nodes = "\n".join(f"  - {service}" for service in services)
    names = ", ".join(service.partition("name: ")[2].partition(",")[0] for service in services)
    sections = f"icap_service:\n{nodes}\nicap_chain:\n  - {{name: all, links: [{names}]}}\nauditor:\n"
    rules = f"    icap_rules:\n      - {{name: rest, use: {use}}}"
    return loads(changed(("auditor:\n", sections), ("    icap_timeout: 30s", rules)), tmp_path).config


@pytest.mark.integration
async def test_icp_14_each_named_service_is_asked_once(tmp_path: Path) -> None:
    """C6: one that scans, one that is no scanner, and one that nobody answers for."""
    with clamd() as scanner, c_icap(scanner) as icap:
        av = f'{{name: av, uri: "{icap.uri("avscan")}"}}'
        echo = f'{{name: echo, uri: "{icap.uri("echo")}", health: null}}'
        blind = f'{{name: blind, uri: "{icap.uri("echo")}"}}'
        gone = f'{{name: gone, uri: "icap://127.0.0.1:{free_port()}/x"}}'
        findings = await scanning.examine(_named(tmp_path, av, echo, blind, gone))
    assert [(finding.what, finding.level) for finding in findings] == [
        ("scanning by av", Level.OK),
        ("scanning by echo", Level.OK),
        ("scanning by blind", Level.FAIL),
        ("scanning by gone", Level.FAIL),
    ]
    assert "EICAR is found" in findings[0].detail
    assert "whether it scans is not checked" in findings[1].detail
    assert findings[2].detail.startswith("the infected test message came back clean: ")
    assert findings[2].hint.endswith("If it is no virus scanner, say so: `icap_service[blind].health: null`")
    assert "null" not in findings[3].hint, "of a service that does not answer, nothing is known"
    assert findings[3].detail.startswith("icap_unreachable")


@pytest.mark.integration
async def test_icp_14_a_short_form_that_is_no_scanner_is_told_which_key_says_so(tmp_path: Path) -> None:
    """And with that key it is fine."""
    short = "    icap_respmod_service: %s\n    icap_timeout: 30s"
    with clamd() as scanner, c_icap(scanner) as icap:
        text = changed(("    icap_timeout: 30s", short % icap.uri("echo")))
        [blind] = await scanning.examine(loads(text, tmp_path).config)
        excused = text.replace("    icap_timeout: 30s", "    icap_health: null\n    icap_timeout: 30s")
        [fine] = await scanning.examine(loads(excused, tmp_path).config)
    assert (blind.level, blind.hint.partition("say so: ")[2]) == (Level.FAIL, "`auditor[inspect].icap_health: null`")
    assert (fine.level, "whether it scans is not checked" in fine.detail) == (Level.OK, True)


async def test_icp_14_a_service_that_no_rule_leads_to_is_not_asked(tmp_path: Path) -> None:
    config = _named(tmp_path, f'{{name: gone, uri: "icap://127.0.0.1:{free_port()}/x"}}', use="none")
    assert _levels(await scanning.examine(config)) == [Level.WARN]
