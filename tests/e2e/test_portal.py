"""TLS-16, C25: the portal through every kind of listener, with real clients."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.e2e import origins
from tests.e2e.chromium import temporary
from tests.e2e.records import record
from tests.e2e.running import Running, base_config, running
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-portal")]
PASSWORD = {"salt": "s", "sha1": hashlib.sha1(b"ssecret", usedforsecurity=False).hexdigest()}


@pytest.fixture(scope="module")
def arcus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Tenant ``a`` must sign in; ``b`` decrypts nothing and blocks every port; the listener ``nobody`` has no tenant."""
    directory = tmp_path_factory.mktemp("portal")
    listens = [("a", "http_proxy"), ("b", "http_proxy"), ("nobody", "http_proxy"), ("socks", "socks_proxy")]
    block_all = {"name": "none", "config": {"hosts": {"regex": [".*"]}, "action": "block"}}
    config = base_config(
        directory / "state",
        ca=[{"name": "default", "common_name": "A's CA"}, {"name": "b", "common_name": "B's CA", "key": "rsa-2048"}],
        auditor=[{"name": "inspect", "tls_interception": {}}, {"name": "blind", "tls_interception": None}],
        user_group=[{"name": "staff", "static_users": [{"name": "alice", "token": PASSWORD}]}],
        tenant=[
            {"tenant_id": "a", "ca": "default", "auditor": "inspect", "escaper": "direct", "user_group": "staff"},
            {"tenant_id": "b", "ca": "b", "auditor": "blind", "escaper": "direct", "policies": [block_all]},
        ],
        server=[
            {"name": name, "type": kind, "listen": {"address": f"127.0.0.1:{free_port()}"}}
            | ({} if name == "nobody" else {"tenant_context": {"tenant_id": "b" if name in ("b", "socks") else "a"}})
            for name, kind in listens
        ],
    )
    with running(config, directory) as appliance:
        yield appliance


def test_tls_16_before_login_over_http_and_https(arcus: Running) -> None:
    ca = x509.load_pem_x509_certificate(arcus.ca().read_bytes())
    answer = arcus.curl("http://arcus.internal/arcus-ca.cer", via="a")
    assert (answer.status, x509.load_der_x509_certificate(answer.body)) == (200, ca)
    for protocol in ("--http1.1", "--http2"):
        page = arcus.curl(protocol, "--cacert", arcus.ca(), "https://arcus.internal/", via="a")
        assert page.status == 200
        assert b"Trust this network" in page.body
    asked = arcus.curl("http://origin.test/", via="a")
    assert asked.status == 407


def test_tls_16_a_visit_is_recorded_like_any_task(arcus: Running) -> None:
    arcus.curl("http://arcus.internal/ca.json?visit=1", via="a")
    arcus.curl("--cacert", arcus.ca(), "https://arcus.internal/ca.json?visit=2", via="a")
    plain, secure = (record(arcus, f"visit={number}") for number in (1, 2))
    for event in (plain, secure):
        assert (event["tenant_id"], event["rule"], event["action"], event["status"]) == ("a", "portal", "allow", 200)
        assert "upstream_status" not in event
        assert "escape" not in event
    assert (secure["decrypt"], secure["decrypt_rule"]) == ("intercept", "portal")


@pytest.mark.security
def test_tls_16_a_tenant_gets_its_own_ca_only(arcus: Running) -> None:
    mine, other = (arcus.curl("http://arcus.internal/arcus-ca.pem", via=via).body for via in ("a", "b"))
    assert (mine, other) == (arcus.ca().read_bytes(), arcus.ca("b").read_bytes())
    claimed = arcus.curl("-H", "X-Tenant-ID: b", "http://arcus.internal/arcus-ca.pem?tenant=b", via="a")
    assert claimed.body == mine
    refused = arcus.curl("--cacert", arcus.ca("b"), "https://arcus.internal/", via="a")
    assert refused.code == 60  # curl does not believe the other tenant's CA


def test_tls_16_rules_about_other_destinations_do_not_count(arcus: Running) -> None:
    """Everything is blocked and nothing decrypted for tenant b, and its clients still get there."""
    assert arcus.curl("http://origin.test/", via="b").status == 403
    assert arcus.curl("--cacert", arcus.ca("b"), "https://arcus.internal/installed", via="b").status == 200


@pytest.mark.security
def test_tls_16_who_has_no_tenant_gets_a_page_and_no_certificate(arcus: Running) -> None:
    answer = arcus.curl("http://arcus.internal/arcus-ca.pem", via="nobody")
    assert answer.status == 403
    assert b"BEGIN" not in answer.body
    assert b"no_tenant" in answer.body
    assert record(arcus, "arcus-ca.pem", reason="no_tenant")["tenant_id"] == ""


def test_tls_16_through_socks(arcus: Running) -> None:
    proxy = f"socks5h://127.0.0.1:{arcus.port('socks')}"
    answer = arcus.curl("-x", proxy, "--cacert", arcus.ca("b"), "https://arcus.internal/proxy.pac", via=None)
    assert f'"SOCKS5 127.0.0.1:{arcus.port("socks")}; SOCKS 127'.encode() in answer.body
    assert arcus.curl("-x", proxy, "http://arcus.internal/", via=None).status == 200


@pytest.mark.security
def test_tls_16_nothing_is_dialled_for_a_portal_tunnel(arcus: Running) -> None:
    """A tunnel to the portal needs no password: nothing else may be reached through it, whatever is asked inside."""
    with origins.origin() as origin:
        for claimed in (f"origin.test:{origin.port}", "127.0.0.1"):
            inside = arcus.curl("--cacert", arcus.ca(), "-H", f"Host: {claimed}", "https://arcus.internal/x", via="a")
            assert inside.status in (400, 404)
        absolute = arcus.curl("--request-target", f"http://origin.test:{origin.port}/", "http://arcus.internal/", via="a")
        assert absolute.status in (400, 407)
        raw = arcus.curl("--proxytunnel", f"http://arcus.internal:{origin.port}/", via="a")
        assert raw.status == 200
        assert origin.accepted == 0


def test_c25_the_listener_asked_directly_hands_out_its_settings(arcus: Running) -> None:
    here = f"127.0.0.1:{arcus.port('a')}"
    for host in ("", "wpad.corp.test", "arcus.internal"):
        answer = arcus.curl(*(["-H", f"Host: {host}"] if host else []), f"http://{here}/wpad.dat", via=None)
        assert f'var proxies = "PROXY {here}";'.encode() in answer.body
        assert answer.headers["content-type"] == "application/x-ns-proxy-autoconfig"
    assert arcus.curl("-H", "Host: origin.test", f"http://{here}/wpad.dat", via=None).status == 400
    assert arcus.curl("-d", "x=1", f"http://{here}/", via=None).status == 405


def test_c25_wpad_through_the_proxy_is_ours(arcus: Running) -> None:
    assert arcus.curl("http://wpad.corp.test/wpad.dat", via="a").status == 200
    assert arcus.curl("http://wpad.corp.test/other", via="a").status == 407


def test_tls_16_a_body_is_read_and_dropped(arcus: Running) -> None:
    answer = arcus.curl("--data-binary", "x" * 100_000, "http://arcus.internal/", "http://arcus.internal/ca.json", via="a")
    assert b"Not this method here" in answer.body
    assert answer.code == 0


CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None or shutil.which("certutil") is None, reason="needs chromium and certutil")
@pytest.mark.parametrize("trusts", [True, False])
def test_tls_16_a_browser_is_told_whether_the_ca_is_installed(arcus: Running, tmp_path: Path, trusts: bool) -> None:
    """In a home of its own, with or without the CA in its certificate store."""
    store = tmp_path / ".pki" / "nssdb"
    store.mkdir(parents=True)
    _run("certutil", "-d", f"sql:{store}", "-N", "--empty-password")
    if trusts:
        _run("certutil", "-d", f"sql:{store}", "-A", "-t", "C,,", "-n", "arcus", "-i", str(arcus.ca()))
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", f"--proxy-server=http://127.0.0.1:{arcus.port('a')}",
        "--virtual-time-budget=8000", "--dump-dom", "http://arcus.internal/",
    ]  # fmt: skip
    with temporary() as folder:
        environment = {"HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin"} | folder
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, env=environment)
    expected = "Yes. This browser trusts the certificate." if trusts else "No. This browser does not trust"
    assert expected in done.stdout, done.stderr[-2000:]
    assert done.stdout.count(">Copy</button>") > 10


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def test_tls_16_programs_read_json(arcus: Running) -> None:
    known = json.loads(arcus.curl("http://arcus.internal/ca.json", via="a").body)["certificates"]
    assert [each["pem"] for each in known] == [arcus.ca().read_text()]
