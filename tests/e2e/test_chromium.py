"""What a person sees: a real browser behind the appliance, as an explicit proxy and without knowing of it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import netns, origins
from tests.e2e.chromium import Browser, Visit, browser, why_not
from tests.e2e.netns import SERVER_IP
from tests.e2e.records import Event, record, records
from tests.e2e.running import Running, base_config, running, wait_until
from tests.proxies import nginx

NO_BROWSER, NO_NAMESPACE = why_not(), netns.why_not()
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER or "-")]

EXPIRED = ("expired.test", "warned.test", "distrusted.test")
NAMES = ("origin.test", "games.test", *EXPIRED)
PORT = 8081
PAGE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="style.css">
<title>A page of the origin</title><h1>It works</h1><p id="p">This came from the origin.</p>"""


@dataclass
class Scene:
    arcus: Running
    browser: Browser
    good: int
    expired: int
    how: str

    def open(self, host: str, path: str = "/", port: int = 0) -> Visit:
        return self.browser.open(f"https://{host}:{port or self.good}{path}")

    def record(self, path: str) -> Event:
        return record(self.arcus, path, method="GET")

    def screenshot(self, name: str) -> Path:
        return self.browser.screenshot(f"{name}-{self.how}")


@pytest.fixture(
    scope="module",
    params=[
        "explicit",
        pytest.param(
            "transparent", marks=[pytest.mark.netns, pytest.mark.skipif(bool(NO_NAMESPACE), reason=NO_NAMESPACE or "-")]
        ),
    ],
)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp(request.param)
    make = _explicit if request.param == "explicit" else _transparent
    with make(directory) as made:
        yield made


@contextlib.contextmanager
def _explicit(directory: Path) -> Iterator[Scene]:
    with (
        _origins(directory, "127.0.0.1") as (good, expired, trusted),
        running(_config(directory, trusted, "127.0.0.1"), directory) as arcus,
        browser(directory, _by_proxy(arcus), ca=arcus.ca()) as started,
    ):
        yield Scene(arcus, started, good, expired, "explicit")


def _by_proxy(arcus: Running) -> str:
    return f"--proxy-server=http://127.0.0.1:{arcus.port('explicit')}"


@contextlib.contextmanager
def _transparent(directory: Path) -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(netns.gateway("arcus-ch"))
        with netns.entered(net.server):
            good, expired, trusted = stack.enter_context(_origins(directory, SERVER_IP))
        net.nft(netns.redirect(PORT))
        server = {"name": "wire", "type": "tcp_tproxy", "mode": "redirect", "listen": {"address": f"0.0.0.0:{PORT}"}}
        config = _config(directory, trusted, SERVER_IP) | {"server": [server]}
        arcus = stack.enter_context(running(config, directory, net.inside(net.gateway)))
        names = (
            f"--host-resolver-rules=MAP *.test {SERVER_IP}, MAP arcus.internal {SERVER_IP}, MAP *.arcus.internal {SERVER_IP}"
        )
        started = stack.enter_context(browser(directory, names, ca=arcus.ca(), prefix=net.inside(net.client)))
        yield Scene(arcus, started, good, expired, "transparent")


@contextlib.contextmanager
def _origins(directory: Path, host: str) -> Iterator[tuple[int, int, origins.Authority]]:
    """One that speaks HTTP/2, and one whose certificate has expired."""
    trusted = origins.authority(directory)
    files = directory / "www"
    files.mkdir()
    (files / "index.html").write_text(PAGE)
    (files / "style.css").write_text("h1 { color: rgb(0, 100, 0) }")
    serve = f"root {files}; types {{ text/html html; text/css css; }}"
    with (
        nginx(host=host, tls=trusted.files(*NAMES), http2=True, server=serve) as good,
        origins.origin(context=trusted.context(*EXPIRED, expired=True), host=host) as expired,
    ):
        yield good.port, expired.port, trusted


def _config(directory: Path, trusted: origins.Authority, host: str) -> dict[str, Any]:
    games = {"hosts": {"exact": ["games.test"]}, "action": "block", "reason": "Games are not allowed at work"}
    policy = {"name": "no-games", "policy_type": "url_filter", "config": games}
    return base_config(
        directory / "state",
        ca=[{"name": "default", "common_name": "Example Corp Inspection CA"}],
        resolver=[{"name": "local", "type": "system", "hosts": {name: [host] for name in NAMES}}],
        escaper=[
            {"name": "direct", "type": "direct_fixed", "resolver": "local", "egress_network_filter": {"allow": [f"{host}/32"]}}
        ],
        auditor=[_auditor(trusted)],
        tenant=[
            {
                "tenant_id": "default", "tenant_name": "Example Corp", "ca": "default", "auditor": "inspect",
                "escaper": "direct", "policies": [policy],
            }
        ],
    )  # fmt: skip


def _auditor(trusted: origins.Authority) -> dict[str, Any]:
    """Bad certificates have a page; but one site may be gone on to, and of one the browser itself is to warn."""
    actions = (("warned.test", "warn"), ("distrusted.test", "untrusted_ca"))
    exceptions = [{"name": action, "hosts": [host], "action": action} for host, action in actions]
    trust = {"ca_files": [str(trusted.pem)], "system_roots": False}
    return {
        "name": "inspect",
        "tls_interception": {"upstream_trust": trust, "upstream_certificates": {"exceptions": exceptions}},
    }


def _clean(visit: Visit) -> None:
    """No warning: the browser's own judgement, and our CA below it."""
    assert not visit.error, visit
    assert (visit.security, visit.issuer) == ("secure", "Example Corp Inspection CA"), visit


def test_tls_02_an_inspected_page_over_http_2(scene: Scene) -> None:
    """HTTP/2 on both sides, with the style sheet, and no word from the browser about the certificate."""
    visit = scene.open("origin.test", "/?one")
    scene.screenshot("origin")
    _clean(visit)
    assert (visit.status, visit.protocol, visit.title) == (200, "h2", "A page of the origin")
    assert scene.browser.run("getComputedStyle(document.querySelector('h1')).color") == "rgb(0, 100, 0)"
    event = scene.record("/?one")
    assert event["decrypt"] == "intercept"
    assert (event["client_tls"]["alpn"], event["server_tls"]["alpn"]) == ("h2", "h2")


def test_pol_01_a_block_page_over_https(scene: Scene) -> None:
    visit = scene.open("games.test", "/?two")
    scene.screenshot("blocked")
    _clean(visit)
    assert visit.status == 403
    assert "Games are not allowed at work" in visit.text
    assert scene.record("/?two")["reason"] == "policy_blocked"


def test_c2_an_expired_certificate_has_a_page_with_the_cause(scene: Scene) -> None:
    """C2: the page is ours, under our CA; the server's content is not seen."""
    visit = scene.open("expired.test", "/?three", scene.expired)
    scene.screenshot("expired")
    _clean(visit)
    assert visit.status == 502
    assert "upstream_cert_expired" in visit.text
    assert f"https://expired.test:{scene.expired}/?three" in visit.text
    assert scene.record("/?three")["reason"] == "upstream_cert_expired"


def test_c2_a_person_may_go_on_from_a_warning(scene: Scene) -> None:
    """C2: the warning is ours and clean; its button leads to where the person wanted to go, and the record says so."""
    visit = scene.open("warned.test", "/?four", scene.expired)
    scene.screenshot("warning")
    _clean(visit)
    assert (visit.status, scene.record("/?four")["reason"]) == (502, "upstream_cert_expired")
    gone = scene.browser.click("form button")
    _clean(gone)
    assert (gone.status, gone.text) == (200, "ok")
    assert gone.url.endswith("/?four")
    event = wait_until(lambda: records(scene.arcus, "/?four", method="GET", status=200), 10, "a record of the page")[0]
    assert (event["server_tls"]["action"], event["server_tls"]["causes"]) == ("proceeded", ["upstream_cert_expired"])


@pytest.mark.parametrize("look", ["dark", "narrow"])
def test_c2_the_warning_on_other_screens(scene: Scene, look: str) -> None:
    """Nothing is cut off sideways, whatever the device."""
    scene.browser.emulate(dark=look == "dark", width=380 if look == "narrow" else 1100)
    try:
        scene.open("expired.test", f"/{look}", scene.expired)
        scene.screenshot(f"expired-{look}")
        assert scene.browser.run("document.documentElement.scrollWidth <= window.innerWidth")
    finally:
        scene.browser.emulate()


@pytest.mark.security
def test_c2_of_what_the_untrusted_ca_signed_the_browser_warns(scene: Scene) -> None:
    """C2: the forward-untrust CA; nothing but the browser's own warning is seen."""
    visit = scene.open("distrusted.test", "/?five", scene.expired)
    scene.screenshot("untrusted")
    assert visit.error == "net::ERR_CERT_AUTHORITY_INVALID"
    assert "ok" not in visit.text.split()


def test_tls_16_the_portal_says_that_the_ca_is_installed(scene: Scene) -> None:
    """TLS-16."""
    visit = scene.browser.open("http://arcus.internal/")
    verdict = scene.browser.until("document.querySelector('[data-probe]').dataset.verdict")
    scene.screenshot("portal-yes")
    assert (visit.status, verdict) == (200, "yes")


@pytest.mark.security
def test_without_the_ca_the_browser_warns(tmp_path: Path) -> None:
    """The control: what the tests above call no warning is not the browser being blind."""
    with (
        _origins(tmp_path, "127.0.0.1") as (good, _, trusted),
        running(_config(tmp_path, trusted, "127.0.0.1"), tmp_path) as arcus,
        browser(tmp_path, _by_proxy(arcus)) as stranger,
    ):
        visit = stranger.open(f"https://origin.test:{good}/")
        stranger.screenshot("no-ca")
        assert visit.error == "net::ERR_CERT_AUTHORITY_INVALID"
        assert "origin" not in visit.title
        assert arcus.event(reason="client_rejected_leaf", destination_host="origin.test")["client_tls"]["error"]
        stranger.open("http://arcus.internal/")
        assert stranger.until("document.querySelector('[data-probe]').dataset.verdict") == "no"
        stranger.screenshot("portal-no")
