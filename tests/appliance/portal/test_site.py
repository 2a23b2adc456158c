"""TLS-16: the portal's pages and files."""

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from appliance.portal.files import MAX_ANCHORS
from appliance.portal.routes import Route
from appliance.portal.visit import Answer, Via, Visit
from certs.authority import Authority
from tests.appliance.portal.anchors import NAME, A, B, ask, header, offered, site


class Reader(HTMLParser):
    """Collects what a page loads and links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        if tag in ("script", "img", "iframe"):
            self.loads.append(values.get("src") or "inline")
        elif tag == "link":
            self.loads.append(values["href"] or "")
        elif tag == "a":
            self.links.append(values["href"] or "")
        assert not any(name.startswith("on") or name == "style" for name in values)


def read(page: bytes) -> Reader:
    reader = Reader()
    reader.feed(page.decode())
    return reader


def test_tls_16_every_form_is_the_certificate_and_no_key(first: Authority) -> None:
    portal = site(offered(first))
    assert x509.load_pem_x509_certificate(ask(portal, "/arcus-ca.pem").body) == first.certificate
    for form in ("cer", "der"):
        assert x509.load_der_x509_certificate(ask(portal, f"/arcus-ca.{form}").body) == first.certificate
    key, certificate, more = pkcs12.load_key_and_certificates(ask(portal, "/arcus-ca.p12").body, None)
    assert (key, certificate) == (None, None)
    assert more == [first.certificate]
    facts = json.loads(ask(portal, "/ca.json").body)["certificates"]
    assert [each["pem"].encode() for each in facts] == [ask(portal, "/arcus-ca.pem").body]
    assert header(ask(portal, "/arcus-ca.cer"), "content-type") == "application/x-x509-ca-cert"
    assert header(ask(portal, "/arcus-ca.mobileconfig"), "content-type") == "application/x-apple-aspen-config"


def test_tls_16_openssl_says_the_same_fingerprints(first: Authority, tmp_path: Path) -> None:
    portal, page = site(offered(first)), ask(site(offered(first))).body.decode()
    file = tmp_path / "ca.pem"
    file.write_bytes(ask(portal, "/arcus-ca.pem").body)
    for digest in ("sha256", "sha1"):
        command = ["openssl", "x509", "-in", str(file), "-noout", "-fingerprint", f"-{digest}"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().partition("=")[2]
        assert said in page


def test_tls_16_all_cas_of_a_rotation_are_offered(first: Authority, second: Authority) -> None:
    portal = site(offered(first, second))
    assert x509.load_pem_x509_certificate(ask(portal, "/arcus-ca.pem").body) == first.certificate
    assert x509.load_pem_x509_certificate(ask(portal, "/arcus-ca-2.pem").body) == second.certificate
    page = ask(portal).body.decode()
    assert "Certificate 1 of 2, in use now" in page
    assert "/arcus-ca-2.cer" in page
    assert ask(portal, "/arcus-ca.mobileconfig").body.count(b"com.apple.security.root") == 2
    assert ask(portal, "/arcus-ca-3.pem").status == 404


def test_tls_16_there_is_a_limit_to_cas(first: Authority) -> None:
    portal = site(offered(*[first] * (MAX_ANCHORS + 1)))
    assert ask(portal, f"/arcus-ca-{MAX_ANCHORS}.pem").status == 200
    assert ask(portal, f"/arcus-ca-{MAX_ANCHORS + 1}.pem").status == 404
    assert len(json.loads(ask(portal, "/ca.json").body)["certificates"]) == MAX_ANCHORS


@pytest.mark.security
def test_tls_16_a_tenant_gets_its_own_ca_only(first: Authority, second: Authority) -> None:
    portal = site(offered(first), offered(second))
    for form in ("pem", "cer", "der", "p12", "mobileconfig"):
        mine, other = ask(portal, f"/arcus-ca.{form}", A).body, ask(portal, f"/arcus-ca.{form}", B).body
        assert mine != other
        assert ask(portal, f"/arcus-ca.{form}", A, query="tenant=b", host="b").body == mine
    page = ask(portal, "/", A).body.decode()
    assert offered(first)[0].sha256 in page
    assert offered(second)[0].sha256 not in page


@pytest.mark.security
@pytest.mark.parametrize("path", ["/", "/ca.json", "/arcus-ca.pem", "/arcus-ca.mobileconfig", "/proxy.pac", "/installed"])
def test_tls_16_who_has_no_tenant_is_told_so_and_gets_no_certificate(first: Authority, path: str) -> None:
    answer = ask(site(offered(first)), path, None)
    assert (answer.status, answer.refused) == (403, True)
    assert b"10.0.0.7" in answer.body
    assert offered(first)[0].sha256.encode() not in answer.body
    assert b"BEGIN" not in answer.body


def test_tls_16_the_page_loads_nothing_from_elsewhere_and_needs_no_script(first: Authority) -> None:
    reader = read(ask(site(offered(first))).body)
    assert set(reader.loads) == {"/icon.svg", "/portal.css", "/portal.js"}
    assert "noscript" in reader.tags
    assert f"https://{NAME}/installed" in reader.links
    policy = header(ask(site(offered(first))), "content-security-policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "img-src 'self' https://check.arcus.internal;" in policy


@pytest.mark.security
def test_tls_16_names_from_the_configuration_are_text(first: Authority) -> None:
    page = ask(site(offered(first)), user_agent="<script>alert(1)</script>").body.decode()
    assert "Tenant &lt;A&gt;" in page
    assert "First \\&lt;CA\\&gt;" in page or "First &lt;CA&gt;" in page
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    ("agent", "key", "button"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "Windows", "/arcus-ca.cer"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_0)", "macOS", "/arcus-ca.mobileconfig"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)", "iPhone and iPad", "/arcus-ca.mobileconfig"),
        ("Mozilla/5.0 (Linux; Android 15)", "Android", "/arcus-ca.cer"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "Linux", "/arcus-ca.pem"),
        ("something", "", "/arcus-ca.pem"),
    ],
)
def test_tls_16_the_visitors_platform_stands_open(first: Authority, agent: str, key: str, button: str) -> None:
    page = ask(site(offered(first)), user_agent=agent).body.decode()
    assert re.findall(r"<details open>\s*<summary>([^<]+?) <span", page) == ([key] if key else [])
    assert re.findall(r'<a class="button" href="([^"]+)"', page) == [button]


@pytest.mark.parametrize("via", [Via.PROXY, Via.SOCKS, Via.TRANSPARENT, Via.DIRECT])
def test_tls_16_the_test_is_offered_where_it_can_tell(first: Authority, via: Via) -> None:
    """A transparent client's DNS knows the fixed name alone; who comes directly may have no proxy yet."""
    page = ask(site(offered(first)), via=via).body.decode()
    name = {Via.PROXY: "check.arcus.internal", Via.SOCKS: "check.arcus.internal", Via.TRANSPARENT: "arcus.internal"}.get(via)
    assert re.findall(r'data-probe="([^"]+)"', page) == ([f"https://{name}/installed.svg"] if name else [])


@pytest.mark.parametrize(
    ("fields", "proxies"),
    [
        ({}, "PROXY 192.0.2.1:3128"),
        ({"via": Via.DIRECT}, "PROXY 192.0.2.1:3128"),
        ({"server": "secure"}, "HTTPS 192.0.2.1:3128"),
        ({"via": Via.SOCKS}, "SOCKS5 192.0.2.1:3128; SOCKS 192.0.2.1:3128"),
        ({"via": Via.TRANSPARENT}, "DIRECT"),
    ],
)
@pytest.mark.parametrize("path", ["/proxy.pac", "/wpad.dat"])
def test_c25_proxy_settings_announce_the_listener(first: Authority, path: str, fields: dict[str, object], proxies: str) -> None:
    answer = ask(site(offered(first)), path, **fields)
    assert header(answer, "content-type") == "application/x-ns-proxy-autoconfig"
    assert f'var proxies = "{proxies}";'.encode() in answer.body


def test_c25_a_tenant_may_have_none(first: Authority) -> None:
    portal = site(offered(first), pac={"enabled": False})
    assert ask(portal, "/proxy.pac").status == ask(portal, "/wpad.dat").status == 404
    assert b"proxy.pac" not in ask(portal).body


def test_tls_16_what_is_not_there(first: Authority) -> None:
    portal = site(offered(first))
    for path in ("/x", "//evil.test", "/../etc/passwd", "/static/portal.css", "/ca.key", "/arcus-ca.key"):
        assert ask(portal, path).status == 404
    refused = ask(portal, "/", method="POST")
    assert (refused.status, header(refused, "allow")) == (405, "GET, HEAD")
    assert all(ask(portal, path).status < 300 or ask(portal, path).status >= 400 for path in ("/", "/installed", "//e.test"))


def test_tls_16_the_page_without_a_script_says_what_it_means(first: Authority) -> None:
    assert b"Not tested yet" in ask(site(offered(first)), "/installed").body
    assert b"it is installed" in ask(site(offered(first)), "/installed", scheme="https").body


def test_other_parts_mount_their_pages(first: Authority) -> None:
    def echo(asked: Visit) -> Answer:
        return Answer(200, (("Content-Type", "text/plain"),), asked.body + asked.path.encode())

    portal = site(offered(first), mounted=(Route("/ocsp/", echo, ("GET", "POST"), 1024),))
    assert ask(portal, "/ocsp/abc", method="POST", body=b"x").body == b"x/ocsp/abc"
