"""TLS-16: the portal's command lines, run as they stand on the page: afterwards the tool trusts what the appliance signs.

Each runs in a mount namespace of its own, where the system's certificate stores are copies.
"""

import html
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import origins
from tests.e2e.running import Running, base_config, running, wait_until
from tests.ports import free_port


def _why_not() -> str:
    if os.geteuid() != 0:
        return "needs root to make a mount namespace"
    probe = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return "" if probe.returncode == 0 else "mount namespaces cannot be used"


WHY_NOT = _why_not()
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("e2e-portal-commands"),
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "-"),
]
COPIED = ("/etc", "/usr/local/share/ca-certificates")
"""Where a command may write."""


@dataclass
class Place:
    arcus: Running
    origin: origins.Origin
    directory: Path

    def command(self, about: str, via: str = "explicit") -> str:
        """The line on the page, as a visitor of this listener sees it."""
        port = self.arcus.port(via)
        proxy = f"socks5h://127.0.0.1:{port}" if via == "socks" else f"http://127.0.0.1:{port}"
        page = self.arcus.curl("-x", proxy, "http://arcus.internal/", via=None).body.decode()
        lines = re.findall(r'<code tabindex="0" aria-label="([^"]+)">([^<]+)</code>', page)
        return next(html.unescape(text) for label, text in lines if html.unescape(label) == about)

    def run(self, about: str, check: str, *, guide: str = "", via: str = "explicit") -> "subprocess.CompletedProcess[str]":
        """Paste the line into a new shell, then ``check``; HTTPS goes through the appliance."""
        line = self.command_of(guide, about, via) if guide else self.command(about, via)
        home = self.directory / f"home-{free_port()}"
        home.mkdir()
        shims = home / "bin"
        shims.mkdir()
        sudo = shims / "sudo"
        sudo.write_text('#!/bin/sh\nexec "$@"\n')
        sudo.chmod(0o755)
        copies = "".join(
            f'cp -a {folder} "$HOME/copy{number}"; mount --bind "$HOME/copy{number}" {folder}\n'
            for number, folder in enumerate(COPIED)
        )
        script = (
            f"set -e\n{copies}cd $HOME\n{line}\nexport https_proxy=http://127.0.0.1:{self.arcus.port('explicit')}\n{check}\n"
        )
        environment = {"HOME": str(home), "PATH": f"{shims}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "URL": self.url}
        command = ["unshare", "--mount", "sh", "-c", script]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)

    def command_of(self, guide: str, about: str, via: str) -> str:
        port = self.arcus.port(via)
        page = self.arcus.curl("-x", f"http://127.0.0.1:{port}", "http://arcus.internal/", via=None).body.decode()
        section = next(part for part in page.split("<details") if f"<summary>{guide}" in part)
        lines = re.findall(r'<code tabindex="0" aria-label="([^"]+)">([^<]+)</code>', section)
        return next(html.unescape(text) for label, text in lines if html.unescape(label) == about)

    @property
    def url(self) -> str:
        return f"https://origin.test:{self.origin.port}/"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("commands")
    trusted = origins.authority(directory)
    listens = {"explicit": "http_proxy", "socks": "socks_proxy"}
    config = base_config(
        directory / "state",
        auditor=[origins.trusting(trusted)],
        server=[{"name": n, "type": kind, "listen": {"address": f"127.0.0.1:{free_port()}"}} for n, kind in listens.items()],
    )
    with origins.origin(context=trusted.context()) as origin, running(config, directory) as arcus:
        wait_until(lambda: arcus.curl("http://arcus.internal/").status == 200)
        yield Place(arcus, origin, directory)


def _good(done: "subprocess.CompletedProcess[str]", expected: str = "ok") -> None:
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(expected), done.stdout


CURL = 'curl -fsS "$URL"'


def test_tls_16_before_any_line_nothing_trusts_it(place: Place) -> None:
    """The checks below mean something."""
    done = place.run("This shell", f"unset CURL_CA_BUNDLE; {CURL}", guide="curl")
    assert done.returncode == 60, done.stderr


def test_tls_16_debian(place: Place) -> None:
    _good(place.run("Debian, Ubuntu", CURL))


def test_tls_16_debian_through_socks(place: Place) -> None:
    _good(place.run("Debian, Ubuntu", CURL, via="socks"))


def test_tls_16_red_hats_line_puts_the_file_where_its_tool_looks(place: Place) -> None:
    """With a stand-in for update-ca-trust, which Debian has not."""
    anchors = "/etc/pki/ca-trust/source/anchors"
    stand_in = f"""mkdir -p {anchors}
cat > $HOME/bin/update-ca-trust <<'END'
#!/bin/sh
openssl x509 -noout -subject -in {anchors}/arcus-ca.pem
END
chmod 755 $HOME/bin/update-ca-trust
"""
    done = place.run("Debian, Ubuntu", f"{stand_in}{place.command('Red Hat, Fedora')}")
    _good(done, "CN = Arcus Inspection CA")


def test_tls_16_curl(place: Place) -> None:
    _good(place.run("This shell", CURL, guide="curl"))


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="the system has no Python of its own")
def test_tls_16_python(place: Place) -> None:
    code = "import urllib.request, os; print(urllib.request.urlopen(os.environ['URL']).read().decode())"
    _good(place.run("This shell", f'/usr/bin/python3 -c "{code}"', guide="Python, pip, requests"))


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_tls_16_git(place: Place) -> None:
    """The origin is no repository; what counts is that git has asked it for one."""
    done = place.run("Linux, macOS", "GIT_TERMINAL_PROMPT=0 git ls-remote ${URL}x.git 2>&1", guide="Git")
    assert "certificate" not in done.stdout.lower()
    assert any(seen.path.startswith("/x.git/info/refs") for seen in place.origin.requests)


NODE = shutil.which("node")
FETCH = """
const http = require("http"), tls = require("tls");
const url = new URL(process.env.URL), proxy = new URL(process.env.https_proxy);
const headers = { host: url.host };
const asked = http.request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path: url.host, headers });
asked.on("connect", (_, socket) => {
  const inner = tls.connect({ socket, servername: url.hostname });
  inner.on("secureConnect", () => inner.write(`GET / HTTP/1.1\\r\\nHost: ${url.host}\\r\\n\\r\\n`));
  inner.on("data", (data) => { console.log(String(data)); process.exit(0); });
  inner.on("error", (error) => { console.error(error); process.exit(9); });
});
asked.end();
"""


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_tls_16_node(place: Place) -> None:
    (place.directory / "fetch.js").write_text(FETCH)
    script = place.directory / "fetch.js"
    _good(place.run("This shell", f"{NODE} {script}", guide="Node.js, npm"))
    refused = place.run("This shell", f"unset NODE_EXTRA_CA_CERTS; {NODE} {script}", guide="Node.js, npm")
    assert refused.returncode == 9


KEYTOOL = shutil.which("keytool")
CACERTS = Path(KEYTOOL).resolve().parents[1] / "lib/security/cacerts" if KEYTOOL else Path()


@pytest.mark.skipif(not str(CACERTS.resolve()).startswith("/etc/"), reason="no JDK whose store is Debian's")
def test_tls_16_java(place: Place) -> None:
    listing = f"{KEYTOOL} -list -cacerts -storepass changeit -alias arcus-ca"
    done = place.run("JDK 9 and later", listing, guide="Java")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "trustedCertEntry" in done.stdout


@pytest.mark.skipif(shutil.which("certutil") is None, reason="certutil is not installed")
def test_tls_16_chromes_store(place: Place) -> None:
    about = "Chrome, Chromium (package libnss3-tools or nss-tools)"
    _good(place.run(about, 'certutil -d "sql:$HOME/.pki/nssdb" -L | grep arcus-ca'), "C,,")


def test_tls_16_firefoxs_policy_is_made_once(place: Place) -> None:
    about = "Linux, all users, where there is no policies.json yet"
    lines = place.command(about)
    again = f"({lines}) && echo twice; cat /etc/firefox/policies/policies.json"
    done = place.run("Debian, Ubuntu", f"{lines}; {again}")
    assert done.returncode == 0, done.stderr
    installed = '{"Install":["/usr/local/share/ca-certificates/arcus-ca.crt"]}'
    assert done.stdout.strip().endswith(f'{{"policies":{{"Certificates":{installed}}}}}')
    assert "twice" not in done.stdout
