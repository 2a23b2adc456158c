"""C2: bad servers under every action of the matrix, as a client sees them and as the audit log tells them."""

import html
import http.client
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.e2e import sockets
from tests.e2e.running import Running, base_config, running
from tests.tlslab.case import LabCase
from tests.tlslab.serving import CONTENT, Serving, serving
from tests.tlslab.table import CASES

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-matrix")]

BAD = {
    "expired": "time: expired",
    "not_yet_valid": "time: not yet valid",
    "wrong_host": "names: wrong host",
    "untrusted": "trust: unknown CA, root sent",
    "self_signed": "trust: self-signed",
    "weak_key": "weak: RSA 1024",
    "weak_signature": "weak: SHA-1 ECDSA",
    "wrong_eku": "usage: EKU client",
    "name_constraints": "trust: name constraints: excluded",
    "issuer_not_ca": "trust: CA:FALSE issuer",
}
"""By cause, a server of the table."""
ACTIONS = {"block": 1, "warn": 2, "untrusted_ca": 3, "splice": 4, "allow": 5, "mixed": 6, "lazy": 7}
"""Third octet of the clients' addresses."""
NAVIGATION = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none"}


@dataclass
class Place:
    arcus: Running
    lab: Serving
    cases: dict[str, LabCase]

    def address(self, cause: str) -> tuple[str, int]:
        return self.cases[cause].host, self.lab.port(self.cases[cause])

    def event(self, cause: str, action: str, **wanted: Any) -> dict[str, Any]:
        port = self.address(cause)[1]
        return self.arcus.event(destination_port=port, source_ip=_client(action), **wanted)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("matrix")
    cases = {cause: next(case for case in CASES if str(case) == name) for cause, name in BAD.items()}
    with serving(list(cases.values()), directory) as lab, running(_config(directory, lab), directory) as arcus:
        yield Place(arcus, lab, cases)


def _config(directory: Path, lab: Serving) -> dict[str, Any]:
    def auditor(name: str, **certificates: Any) -> dict[str, Any]:
        trust = {"ca_files": [str(lab.roots)], "system_roots": False}
        return {"name": name, "tls_interception": {"upstream_trust": trust, "upstream_certificates": certificates}}

    mixed = {
        "causes": {"wrong_host": "allow"},
        "exceptions": [
            {"name": "over", "hosts": [".origin.test", "origin.test"], "action": "allow", "until": "2020-01-01"},
            {"name": "old-app", "hosts": ["origin.test"], "causes": ["expired"], "action": "allow", "until": "2099-12-31"},
        ],
    }
    auditors = [auditor(action, default=action) for action in ACTIONS if action not in ("mixed", "lazy")]
    lazy = auditor("lazy", default="warn")
    lazy["tls_interception"]["connection_strategy"] = "lazy"
    tenants = [
        {
            "tenant_id": action, "ca": "default", "auditor": action, "escaper": "direct",
            "match": {"networks": [f"127.0.{octet}.0/24"]},
        }
        for action, octet in ACTIONS.items()
    ]  # fmt: skip
    return base_config(
        directory / "state",
        workers=2,
        resolver=[{"name": "local", "type": "system", "hosts": {host: ["127.0.0.1"] for host in lab.hosts}}],
        auditor=[*auditors, auditor("mixed", **mixed), lazy],
        tenant=tenants,
    )


def _client(action: str) -> str:
    return f"127.0.{ACTIONS[action]}.1"


@dataclass
class Shown:
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    leaf: x509.Certificate


def ask(
    place: Place, cause: str, action: str, method: str = "GET", path: str = "/", *, trust: bool = True, source: str = "",
    **fields: str,
) -> Shown:  # fmt: skip
    """One request through the appliance. With ``trust`` the client believes the tenant's CA alone."""
    host, port = place.address(cause)
    context = sockets.trusting(place.arcus.ca()) if trust else ssl._create_unverified_context()
    with (
        sockets.connect(place.arcus.port("explicit"), f"{host}:{port}", source=source or _client(action)) as tunnel,
        context.wrap_socket(tunnel, server_hostname=host) as sock,
    ):
        leaf = x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"")
        client = http.client.HTTPConnection(host, port)
        client.sock = sock
        client.request(method, path, headers={"Connection": "close", **fields})
        answer = client.getresponse()
        return Shown(answer.status, answer.headers, answer.read(), leaf)


def forged(place: Place, leaf: x509.Certificate) -> bool:
    """Whether the leaf is the tenant's CA's."""
    ca = x509.load_pem_x509_certificate(place.arcus.ca().read_bytes())
    return leaf.issuer == ca.subject


# -- nine causes and more, five actions


@pytest.mark.security
@pytest.mark.parametrize("cause", BAD)
def test_c2_block_shows_our_page_and_nothing_of_the_server(place: Place, cause: str) -> None:
    shown = ask(place, cause, "block", **NAVIGATION)
    word = f"upstream_cert_{cause}"
    assert (shown.status, shown.headers["x-arcus-reason"]) == (502, word)
    assert word.encode() in shown.body
    assert CONTENT not in shown.body
    assert b"<form" not in shown.body
    assert forged(place, shown.leaf)
    event = place.event(cause, "block", reason=word)
    assert (event["server_tls"]["action"], event["server_tls"]["causes"]) == ("block", [word])
    assert event["server_tls"]["certificate"]["sha256"].encode() in shown.body
    assert event["id"].encode() in shown.body


@pytest.mark.parametrize("cause", BAD)
def test_c2_allow_passes_and_is_recorded_with_the_cause(place: Place, cause: str) -> None:
    shown = ask(place, cause, "allow")
    assert (shown.status, shown.body) == (200, CONTENT)
    assert forged(place, shown.leaf)
    event = place.event(cause, "allow", reason="ok")
    assert event["server_tls"]["verify"].startswith(f"upstream_cert_{cause}: ")
    assert (event["server_tls"]["action"], event["server_tls"]["rule"]) == ("allow", "default")
    assert f"upstream_cert_{cause}" in event["server_tls"]["causes"]


@pytest.mark.security
@pytest.mark.parametrize("cause", BAD)
def test_c2_untrusted_ca_makes_the_client_refuse(place: Place, cause: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(place, cause, "untrusted_ca")
    shown = ask(place, cause, "untrusted_ca", trust=False)
    assert (shown.status, shown.body) == (200, CONTENT)
    assert not forged(place, shown.leaf)
    assert "Not trusted" in shown.leaf.issuer.rfc4514_string()
    event = place.event(cause, "untrusted_ca", reason="ok")
    assert (event["server_tls"]["action"], event["client_tls"]["action"]) == ("untrusted_ca", "untrusted_ca")


@pytest.mark.parametrize("cause", BAD)
def test_c2_splice_lets_the_client_see_the_servers_own_certificate(place: Place, cause: str) -> None:
    with pytest.raises(ssl.SSLError):
        ask(place, cause, "splice")
    event = place.event(cause, "splice", kind="tunnel")
    assert (event["decrypt"], event["decrypt_rule"]) == ("splice", "upstream_certificates default")
    assert event["decrypt_text"] == f"upstream_cert_{cause}"


# -- warnings


def button(shown: Shown) -> str:
    """Where the page's form is sent."""
    found = re.search(rb'<form method="post" action="([^"]+)">', shown.body)
    assert found, shown.body
    return html.unescape(found[1].decode())


def press(place: Place, cause: str, action: str, tenant: str = "warn") -> Shown:
    return ask(place, cause, tenant, "POST", action, **{"Sec-Fetch-Site": "same-origin"})


@pytest.mark.parametrize("cause", BAD)
def test_c2_warn_a_person_may_go_on_and_it_is_recorded(place: Place, cause: str) -> None:
    word = f"upstream_cert_{cause}"
    page = ask(place, cause, "warn", path="/wanted?q=1", **NAVIGATION)
    assert (page.status, page.headers["x-arcus-reason"]) == (502, word)
    assert CONTENT not in page.body
    assert forged(place, page.leaf)
    gone = press(place, cause, button(page))
    assert (gone.status, gone.headers["location"]) == (303, "/wanted?q=1")
    granted = place.event(cause, "warn", method="POST", reason="ok")
    assert granted["detail"].startswith(f"proceed granted: {word}, certificate ")
    assert "token" not in granted["url"]
    # both workers: the kernel chooses one for each connection
    for _ in range(6):
        assert ask(place, cause, "warn", **NAVIGATION).body == CONTENT
    used = place.event(cause, "warn", method="GET", reason="ok")
    assert used["server_tls"]["action"] == "proceeded"
    assert word in used["server_tls"]["causes"]
    # nobody else
    other = ask(place, cause, "warn", source="127.0.2.2", **NAVIGATION)
    assert other.headers["x-arcus-reason"] == word


def test_c2_a_warning_works_where_the_server_is_known_late(place: Place) -> None:
    """C2: with lazy connections the client has its leaf before the server's certificate is known."""
    page = ask(place, "expired", "lazy", **NAVIGATION)
    assert page.headers["x-arcus-reason"] == "upstream_cert_expired"
    assert CONTENT not in page.body
    assert press(place, "expired", button(page), "lazy").status == 303
    assert ask(place, "expired", "lazy", **NAVIGATION).body == CONTENT


@pytest.mark.security
def test_c2_a_button_counts_for_its_own_page_only(place: Place) -> None:
    """C2: other sites, other clients, changes and other methods."""
    place_ = place.address("expired")
    shown = ask(place, "expired", "warn", source="127.0.2.9", **NAVIGATION)
    action = button(shown)

    def refused(path: str, *, method: str = "POST", source: str = "127.0.2.9", cause: str = "expired", **fields: str) -> str:
        answer = ask(place, cause, "warn", method, path, source=source, **({"Sec-Fetch-Site": "same-origin"} | fields))
        assert answer.status == 403
        return str(answer.headers["x-arcus-reason"])

    assert refused(action, **{"Sec-Fetch-Site": "cross-site"}) == "proceed_cross_site"
    assert refused(action, method="GET") == "proceed_cross_site"
    assert refused(action, source="127.0.2.10") == "proceed_foreign"
    assert refused(action, cause="not_yet_valid") == "proceed_foreign"
    flipped = action[:-1] + ("A" if action[-1] != "A" else "B")
    assert refused(flipped) == "proceed_invalid"
    assert refused(action.partition("?")[0]) == "proceed_invalid"
    assert place.arcus.event(reason="proceed_foreign", destination_port=place_[1])["blocked"]
    # none of these attempts has granted anything
    still = ask(place, "expired", "warn", source="127.0.2.9", **NAVIGATION)
    assert still.headers["x-arcus-reason"] == "upstream_cert_expired"


@pytest.mark.parametrize(
    "fields",
    [{"Accept": "*/*"}, {"Accept": "text/html", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}],
    ids=["tool", "image"],
)
def test_c2_only_a_person_gets_a_button(place: Place, fields: dict[str, str]) -> None:
    shown = ask(place, "self_signed", "warn", source="127.0.2.20", **fields)
    assert shown.status == 502
    assert b"<form" not in shown.body
    assert (b"<html" in shown.body) is ("text/html" in fields["Accept"]), "tools get text"


# -- exceptions


def test_c2_exceptions_hold_for_their_hosts_causes_and_days(place: Place) -> None:
    assert ask(place, "expired", "mixed").body == CONTENT
    event = place.event("expired", "mixed", reason="ok")
    assert (event["server_tls"]["action"], event["server_tls"]["rule"]) == ("allow", "old-app")
    assert ask(place, "wrong_host", "mixed").body == CONTENT
    assert place.event("wrong_host", "mixed", reason="ok")["server_tls"]["rule"] == "causes.wrong_host"
    assert ask(place, "self_signed", "mixed").status == 502


def test_c2_the_ca_that_nobody_trusts_is_kept_and_not_exported(place: Place) -> None:
    home = place.arcus.state / "untrusted-ca" / "forward-untrust"
    assert (home / "ca.key").stat().st_mode & 0o077 == 0
    assert not (place.arcus.state / "ca" / "forward-untrust").exists()
