"""What each command answers, and what it says when it cannot."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from appliance import __version__
from appliance.domain.exclusion import Kind, Learned, to_snapshot
from appliance.identity.hashes import Argon2Hash
from appliance.storage.sqlite import SqliteStore
from certs import sealing
from tests.appliance.cli.conftest import Arcus
from tests.appliance.config.base import changed


def test_version(arcus: Arcus) -> None:
    assert arcus("version").out.startswith(f"arcus {__version__} (python 3.")
    assert json.loads(arcus("version", "--json").out)["mitmproxy"] == "12.2.3"


def test_cfg_09_check_ok(arcus: Arcus, config: Path) -> None:
    ran = arcus("check", "-c", config)
    assert (ran.code, ran.out) == (0, f"{config}: ok (2 servers, 2 tenants, 3 escapers, 1 auditor; 1 warning)\n")
    assert ran.err.startswith(f"warning: {config}:34: user_group[people]")


def test_cfg_09_check_tells_every_problem_on_its_own_line(arcus: Arcus, config: Path) -> None:
    config.write_text(changed(("workers: 2", "worker: 2"), ("127.0.0.1:9090", "0.0.0.0:9090")))
    ran = arcus("check", "-c", config)
    assert (ran.code, ran.out) == (1, "")
    assert [line.split(" ")[0] for line in ran.err.splitlines()] == [f"{config}:2:", f"{config}:58:"]


def test_check_json_has_problems_or_a_summary(arcus: Arcus, config: Path) -> None:
    good = json.loads(arcus("check", "-c", config, "--json").out)
    assert (good["ok"], good["problems"], good["summary"]["escapers"]) == (True, [], 3)
    config.write_text(changed(("workers: 2", "worker: 2")))
    ran = arcus("check", "-c", config, "--json")
    bad = json.loads(ran.out)
    assert (ran.code, bad["ok"], bad["problems"][0]["line"], bad["problems"][0]["path"]) == (1, False, 2, "worker")


def test_check_asks_the_parts_too(arcus: Arcus, config: Path, tmp_path: Path) -> None:
    """A certificate that is none of a CA is well formed, and still cannot sign."""
    import trustme

    leaf = trustme.CA().issue_cert("not-a-ca.test")
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "c.pem"))
    leaf.private_key_pem.write_to_path(str(tmp_path / "k.pem"))
    (tmp_path / "k.pem").chmod(0o600)
    config.write_text(changed(("  - name: main", "  - name: main\n    certificate: c.pem\n    private_key: k.pem")))
    ran = arcus("check", "-c", config)
    assert ran.code == 1
    assert "not a CA certificate" in ran.err


def test_icp_12_a_file_for_icap_serve_is_checked_as_what_it_is(arcus: Arcus, tmp_path: Path) -> None:
    file = tmp_path / "icap.yaml"
    file.write_text("icap_server:\n  unix: {path: icap.sock}\n  workers: 2\n  scanner: {type: clamd, tcp: '127.0.0.1:3310'}\n")
    ran = arcus("check", "-c", file)
    assert (ran.code, ran.out) == (0, f"{file}: ok for `arcus icap serve` (2 ICAP workers, 1 scanner; 0 warnings)\n")
    assert json.loads(arcus("check", "-c", file, "--json").out)["summary"] == {"ICAP workers": 2, "scanners": 1}
    file.write_text(file.read_text().replace("workers", "worker"))
    broken = arcus("check", "-c", file)
    assert (broken.code, broken.err.startswith(f"{file}:3: icap_server.worker: ")) == (1, True)


def test_check_graph(arcus: Arcus, config: Path) -> None:
    assert arcus("check", "-c", config, "--graph", "mermaid").out.startswith("flowchart LR\n")
    assert arcus("check", "-c", config, "--graph", "ascii").code == 2


def test_user_hash_from_standard_input(arcus: Arcus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
    ran = arcus("user", "hash")
    assert Argon2Hash.parse(ran.out.strip()).matches("correct horse")
    assert "horse" not in ran.out + ran.err


@pytest.mark.parametrize("typed", ["", "\n", "x" * 1025 + "\n"])
def test_user_hash_refuses_no_password_and_endless_ones(arcus: Arcus, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    ran = arcus("user", "hash")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: ")


@pytest.mark.security
def test_ten_13_ca_init_show_export_never_give_the_key(arcus: Arcus, config: Path, tmp_path: Path) -> None:
    assert arcus("ca", "show", "-c", config).err.endswith("hint: make it with `arcus ca init`\n")
    assert arcus("ca", "init", "-c", config).code == 0
    home = tmp_path / "state" / "ca" / "main"
    assert (home / "ca.key").stat().st_mode & 0o777 == 0o600
    assert [(tmp_path / "state" / part).stat().st_mode & 0o777 for part in ("", "ca")] == [0o700, 0o700]
    [shown] = json.loads(arcus("ca", "show", "-c", config, "--tenant", "blue", "--json").out)
    certificate = x509.load_pem_x509_certificate((home / "ca.pem").read_bytes())
    assert (shown["subject"], shown["tenants"]) == (certificate.subject.rfc4514_string(), ["blue", "default"])
    exports = {
        form: arcus("ca", "export", "-c", config, "--format", form).out.encode("latin-1") for form in ("pem", "der", "p12")
    }
    assert x509.load_pem_x509_certificate(exports["pem"]) == x509.load_der_x509_certificate(exports["der"]) == certificate
    bundle = load_pkcs12(exports["p12"], None)
    assert (bundle.key, bundle.additional_certs[0].certificate) == (None, certificate)
    assert b"PRIVATE" not in exports["pem"]


def test_ca_export_to_a_file(arcus: Arcus, config: Path, tmp_path: Path) -> None:
    arcus("ca", "init", "-c", config)
    ran = arcus("ca", "export", "-c", config, "--tenant", "blue", "--format", "der", "-o", tmp_path / "out.der")
    assert (ran.code, ran.out) == (0, "")
    x509.load_der_x509_certificate((tmp_path / "out.der").read_bytes())


def test_ca_of_an_unknown_tenant(arcus: Arcus, config: Path) -> None:
    ran = arcus("ca", "export", "-c", config, "--tenant", "red")
    assert (ran.code, ran.err) == (1, "error: no tenant is named 'red'\nhint: there are: blue, default\n")


def _event(number: int, **more: object) -> dict[str, object]:
    core = {"id": f"e{number}", "created_at": 1_700_000_000.0 + number, "event_type": "request", "tenant_id": "blue"}
    return core | {"method": "GET", "url": f"https://a.test/{number}", "status": 200, "action": "allow", "reason": "ok"} | more


@pytest.fixture
def events(config: Path) -> Path:
    store = SqliteStore(config.parent / "state" / "audit.db")
    told = [
        _event(1),
        _event(2, tenant_id="default"),
        _event(3, action="block", status=403, reason="malware_found", method="\x1b[2J"),
    ]
    store.append([(event, json.dumps(event)) for event in told])
    store.close()
    return config


def test_audit_query(arcus: Arcus, events: Path) -> None:
    lines = arcus("audit", "query", "-c", events, "--json").out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["e3", "e2", "e1"]
    lines = arcus("audit", "query", "action: block", "-c", events, "--json").out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["e3"]
    assert len(arcus("audit", "query", "-c", events, "--tenant", "default", "--json").out.splitlines()) == 1
    assert arcus("audit", "query", "-c", events, "--tenant", "blu").err.startswith("error: no tenant is named 'blu'")


def test_d6_an_alert_says_in_its_line_what_it_is_about(arcus: Arcus, events: Path) -> None:
    store = SqliteStore(events.parent / "state" / "audit.db")
    alert = _event(4, kind="retro", url="", method="", action="alert", destination_host="a.test", detail="abc was delivered")
    store.append([(alert, json.dumps(alert))])
    store.close()
    assert "  abc was delivered  " in arcus("audit", "query", "action: alert", "-c", events).out


@pytest.mark.security
def test_audit_text_cannot_drive_the_terminal(arcus: Arcus, events: Path) -> None:
    for command in (("query",), ("tail", "--no-follow")):
        out = arcus("audit", *command, "-c", events).out
        assert "\x1b" not in out
        assert "\\x1b[2J" in out


def test_audit_tail_is_oldest_first(arcus: Arcus, events: Path) -> None:
    lines = arcus("audit", "tail", "-c", events, "--no-follow", "-n", "2", "--json").out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["e2", "e3"]


def test_audit_malformed_query_and_no_database(arcus: Arcus, events: Path) -> None:
    ran = arcus("audit", "query", "nofield: (", "-c", events)
    assert (ran.code, ran.out) == (1, "")
    assert "docs/audit.md" in ran.err
    (events.parent / "state" / "audit.db").unlink()
    assert "hint: `arcus run` makes it" in arcus("audit", "query", "-c", events).err


def test_audit_a_field_with_an_equals_sign_is_a_text_and_says_so(arcus: Arcus, events: Path) -> None:
    ran = arcus("audit", "query", "reason=malware_found", "-c", events)
    assert (ran.code, ran.out) == (0, "no events match\n")
    assert ran.err.startswith("hint: a field is asked with a colon")
    assert arcus("audit", "query", "nothing-like-it", "-c", events).err == ""


def test_explain(arcus: Arcus, config: Path) -> None:
    ran = arcus("explain", "https://games.test/", "--client", "10.1.2.3", "--user", "alice", "-c", config)
    assert ran.code == 0
    assert ran.out.endswith("\ndeny: policy_blocked\n")
    told = json.loads(
        arcus("explain", "https://b.test/", "--client", "10.1.2.3", "--user", "alice", "-c", config, "--json").out
    )
    assert (told["tenant"], told["decrypt"], told["escaper_path"]) == ("blue", "intercept", ["router", "parent"])


def test_d5_explain_knows_what_the_workers_were_told_of_exclusions(arcus: Arcus, config: Path) -> None:
    """Added by a person or learned: it stands in no configuration."""

    def decrypt(host: str) -> tuple[str, str]:
        ran = arcus("explain", f"https://{host}/", "--client", "192.0.2.1", "-c", config, "--json")
        return json.loads(ran.out)["decrypt"], ran.err

    assert decrypt("app.example") == ("intercept", "")
    told = config.parent / "state" / "run" / "exclusions.json"
    told.parent.mkdir(parents=True)
    told.write_bytes(to_snapshot([Learned("1", "default", "app.example", "", Kind.MANUAL, "why", 4e9, 1)]))
    assert (decrypt("app.example"), decrypt("other.test")) == (("splice", ""), ("intercept", ""))
    told.write_bytes(b"half of")
    assert decrypt("app.example")[1].startswith("warning: exclusions that were learned or added are not looked at: ")


@pytest.mark.parametrize("command", ["reload", "status"])
def test_a_file_that_cannot_be_read_is_told_of_although_nothing_runs(arcus: Arcus, tmp_path: Path, command: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("state_dir: [\n")
    ran = arcus(command, "-c", file)
    assert (ran.code, ran.out) == (1, "")
    assert f"{file}:" in ran.err
    assert "no Arcus runs" not in ran.err


def test_nothing_runs(arcus: Arcus, config: Path) -> None:
    ran = arcus("status", "-c", config)
    assert (ran.code, ran.err.splitlines()[0]) == (1, f"error: no Arcus runs on {config.parent / 'state'}")


def test_a_file_that_is_not_there_is_named_in_words(arcus: Arcus, config: Path, tmp_path: Path) -> None:
    ran = arcus("ca", "restore", "-c", config, "--from", tmp_path / "absent.backup", "--passphrase-stdin")
    assert (ran.code, ran.err) == (1, f"error: {tmp_path / 'absent.backup'}: No such file or directory\n")


@pytest.mark.parametrize("group", [(), ("ca",)], ids=str)
def test_help_has_the_first_sentence_of_each_command_whole(arcus: Arcus, group: tuple[str, ...]) -> None:
    commands = arcus(*group, "--help").out.partition("Commands:")[2]
    assert commands
    assert "..." not in commands


@pytest.mark.parametrize(
    "arguments", [("nonsense://x", "10.0.0.1"), ("https://x.test:99999/", "10.0.0.1"), ("https://x.test/", "here")]
)
def test_explain_malformed_question(arcus: Arcus, config: Path, arguments: tuple[str, str]) -> None:
    ran = arcus("explain", arguments[0], "--client", arguments[1], "-c", config)
    assert ran.code == 1
    assert ran.err.startswith("error: not a")


COMMANDS = [
    ("check",), ("run",), ("doctor",), ("ca", "init"), ("ca", "show"), ("ca", "export"), ("audit", "tail"), ("audit", "query"),
    ("explain", "https://a.test/", "--client", "10.0.0.1"), ("demo", "traffic"),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_traceback_for_a_configuration_that_is_not_there(arcus: Arcus, tmp_path: Path, command: tuple[str, ...]) -> None:
    ran = arcus(*command, "-c", tmp_path / "absent.yaml")
    assert (ran.code, ran.out) == (1, "")
    assert f"{tmp_path / 'absent.yaml'}: cannot be read: No such file or directory" in ran.err


def test_wrong_usage_is_2(arcus: Arcus) -> None:
    assert [arcus(*words).code for words in (("check",), ("nothing",), ("check", "--wrong"))] == [2, 2, 2]


def test_as_a_program_with_a_reader_that_stops(config: Path) -> None:
    """`arcus ... | head -1` ends without a word."""
    env = os.environ | {"ARCUS_CONFIG": str(config)}
    program = [sys.executable, "-m", "appliance.cli", "check", "--json"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(program, env=env, stdout=write, stderr=subprocess.PIPE, timeout=60, cwd=Path(__file__).parents[3])
    os.close(write)
    assert b"Traceback" not in done.stderr


def test_rds_07_the_key_of_the_shared_tier_is_rotated(arcus: Arcus, config: Path, tmp_path: Path) -> None:
    ran = arcus("redis", "rotate-key", "-c", config)
    assert (ran.code, "`arcus run` makes it" in ran.err) == (1, True)
    file = tmp_path / "state" / "leaf-cache.key"
    file.parent.mkdir(exist_ok=True)
    sealing.ensure(file)
    before = file.read_text().splitlines()
    told = json.loads(arcus("redis", "rotate-key", "-c", config, "--json").out)
    after = file.read_text().splitlines()
    assert [before[0], told["identifier"], before[1]] == [after[0], after[1].split()[0], after[2]]
    assert arcus("redis", "rotate-key", "-c", config, "--keep", "0").out.startswith(f"{file}: sealing with")
    assert len(file.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("audit", "query"), "no events yet"),
        (("audit", "query", "blocked: true"), "no events match"),
        (("exclusion", "list"), "no exclusions"),
        (("exclusion", "list", "--tenant", "blue"), "no exclusions of tenant blue"),
        (("ca", "revoked", "--tenant", "blue"), "no certificate of tenant blue is revoked"),
    ],
)
def test_lists_without_anything_say_so(arcus: Arcus, config: Path, command: tuple[str, ...], sentence: str) -> None:
    assert arcus("ca", "init", "-c", config).code == 0
    SqliteStore(config.parent / "state" / "audit.db").close()
    ran = arcus(*command, "-c", config)
    assert (ran.code, ran.out, ran.err) == (0, f"{sentence}\n", "")
    ran = arcus(*command, "-c", config, "--json")
    assert ran.out in ("[]\n", ""), "for programs an empty list is one"
