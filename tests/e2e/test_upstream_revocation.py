"""C18, C11: certificates that were taken back, and chains that were not sent whole, with everything fetched for real."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.certs import forge_origin as forge
from tests.certs.forge_origin import CA, LEAF
from tests.e2e import sockets
from tests.e2e.running import Running, base_config, running
from tests.tlslab import revoked
from tests.tlslab.case import Expect, Lab, LabCase, Plain
from tests.tlslab.revocation import crl_at, issuer_at, ocsp_at
from tests.tlslab.serving import CONTENT, Serving, serving

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-revocation")]

TENANTS = {"soft": 1, "hard": 2, "shut": 3, "off": 4}
"""Third octet of the clients' addresses."""


def leaf_with(serial: int, *extra: Any) -> Callable[[Lab], Plain]:
    def serve(lab: Lab) -> Plain:
        issuer = lab.world.intermediate
        made = tuple(each(lab) for each in extra)
        return Plain(forge.issue(LEAF.but(serial=serial, extra=made), issuer), [issuer])

    return serve


def silent(lab: Lab) -> Any:
    return ocsp_at(f"{lab.web}/nothing-here")


def own_address(_lab: Lab) -> Any:
    return crl_at("http://169.254.169.254/latest/meta-data")


def two_missing(lab: Lab) -> Plain:
    """Two intermediates above one another, neither of them sent; one of them in PKCS #7's place as PEM."""
    upper = forge.issue(CA.but(common_name="Upper", key=forge.ec_key(51)), lab.world.root)
    at_upper = issuer_at(f"{lab.web}/upper.pem")
    lower = forge.issue(CA.but(common_name="Lower", key=forge.ec_key(52), extra=(at_upper,)), upper)
    lab.answers["upper.pem"] = lambda _: ("application/x-pem-file", upper.pem)
    lab.answers["lower.cer"] = lambda _: ("application/pkix-cert", lower.der)
    return Plain(forge.issue(LEAF.but(extra=(issuer_at(f"{lab.web}/lower.cer"),)), lower))


def stranger_fetched(lab: Lab) -> Plain:
    """What is fetched completes the chain, to a root that nobody trusts."""
    stranger = lab.world.stranger
    lab.answers["stranger.cer"] = lambda _: ("application/pkix-cert", stranger.der)
    return Plain(forge.issue(LEAF.but(extra=(issuer_at(f"{lab.web}/stranger.cer"),)), stranger))


def wrong_name_fetched(lab: Lab) -> Plain:
    issuer = forge.issue(CA.but(common_name="Fetched CA", key=forge.ec_key(42)), lab.world.root)
    lab.answers["wrong.cer"] = lambda _: ("application/pkix-cert", issuer.der)
    names = [forge.x509.DNSName("other.test")]
    return Plain(forge.issue(LEAF.but(names=names, extra=(issuer_at(f"{lab.web}/wrong.cer"),)), issuer))


OWN = [
    LabCase("own", "responder silent", Expect.SHOULD_REFUSE, "", leaf_with(0x7001, silent)),
    LabCase("own", "no address", Expect.SHOULD_REFUSE, "", leaf_with(0x7002)),
    LabCase("own", "metadata address", Expect.SHOULD_REFUSE, "", leaf_with(0x7003, own_address)),
    LabCase("own", "two missing", Expect.MUST_PASS, "", two_missing),
    LabCase("own", "stranger fetched", Expect.MUST_REFUSE, "", stranger_fetched),
    LabCase("own", "wrong name fetched", Expect.MUST_REFUSE, "", wrong_name_fetched),
]
CASES = {case.name: case for case in [*revoked.CASES, revoked.AIA, *OWN]}


@dataclass
class Place:
    arcus: Running
    lab: Serving

    def ask(self, name: str, tenant: str) -> tuple[int, str, bytes]:
        """Status, reason word and body."""
        port, case = self.lab.port(CASES[name]), CASES[name]
        where = f"{case.host}:{port}"
        with (
            sockets.connect(self.arcus.port("explicit"), where, source=f"127.0.{TENANTS[tenant]}.1") as tunnel,
            sockets.tls(tunnel, case.host, self.arcus.ca()) as sock,
        ):
            sock.sendall(f"GET / HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n\r\n".encode())
            status, headers, body = sockets.read_response(sock)
            return status, headers.get("x-arcus-reason", ""), body

    def event(self, name: str, tenant: str) -> dict[str, Any]:
        return self.arcus.event(destination_port=self.lab.port(CASES[name]), source_ip=f"127.0.{TENANTS[tenant]}.1")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("revocation")
    with serving(list(CASES.values()), directory) as lab, running(_config(directory, lab), directory) as arcus:
        yield Place(arcus, lab)


def _config(directory: Path, lab: Serving) -> dict[str, Any]:
    def auditor(name: str, **certificates: Any) -> dict[str, Any]:
        trust = {"ca_files": [str(lab.roots)], "system_roots": False}
        return {"name": name, "tls_interception": {"upstream_trust": trust, "upstream_certificates": certificates}}

    here = {"networks": ["127.0.0.0/8"]}
    return base_config(
        directory / "state",
        resolver=[{"name": "local", "type": "system", "hosts": {host: ["127.0.0.1"] for host in lab.hosts}}],
        auditor=[
            auditor("soft", revocation={"ocsp": "soft", "crl": "soft"}, fetch=here),
            auditor("hard", revocation={"ocsp": "hard", "crl": "soft", "intermediates": False}, fetch=here),
            auditor("shut", revocation={"ocsp": "soft", "crl": "soft"}),
            auditor("off", complete_chains=False),
        ],
        tenant=[
            {
                "tenant_id": name, "ca": "default", "auditor": name, "escaper": "direct",
                "match": {"networks": [f"127.0.{octet}.0/24"]},
            }
            for name, octet in TENANTS.items()
        ],
    )  # fmt: skip


@pytest.mark.security
@pytest.mark.parametrize("name", ["by list", "by OCSP", "by staple", "intermediate, by list"])
def test_c18_a_revoked_certificate_is_refused_however_it_is_told(place: Place, name: str) -> None:
    status, reason, body = place.ask(name, "soft")
    assert (status, reason) == (502, "upstream_cert_revoked")
    assert CONTENT not in body
    assert place.event(name, "soft")["server_tls"]["causes"] == ["upstream_cert_revoked"]


@pytest.mark.parametrize(
    ("name", "finding"),
    [("not on the list", "good (crl)"), ("OCSP says good", "good (ocsp)"), ("must-staple with one", "good")],
)
def test_c18_a_good_certificate_passes_and_the_record_says_how_it_is_known(place: Place, name: str, finding: str) -> None:
    assert place.ask(name, "hard")[0] == 200
    event = place.event(name, "hard")
    assert event["server_tls"]["verify"] == "ok"
    assert event["server_tls"]["revocation"].startswith(finding)


@pytest.mark.parametrize("name", ["responder silent", "no address", "metadata address"])
def test_c18_without_an_answer_the_mode_decides(place: Place, name: str) -> None:
    assert place.ask(name, "soft")[0] == 200
    assert place.event(name, "soft")["server_tls"]["revocation"].startswith("unknown (")
    assert place.ask(name, "hard")[:2] == (502, "upstream_cert_revocation_unknown")


def test_c18_nothing_is_asked_by_default(place: Place) -> None:
    assert place.ask("by OCSP", "off")[0] == 200
    assert "revocation" not in place.event("by OCSP", "off")["server_tls"]


@pytest.mark.parametrize("name", ["intermediate to be fetched", "two missing"])
def test_c11_a_chain_is_completed_and_verified(place: Place, name: str) -> None:
    status, _, body = place.ask(name, "soft")
    assert (status, body) == (200, CONTENT)
    event = place.event(name, "soft")["server_tls"]
    assert (event["verify"], event["completed"]) == ("ok", True)


def test_c11_a_chain_is_not_completed_where_that_is_off(place: Place) -> None:
    assert place.ask("intermediate to be fetched", "off")[:2] == (502, "upstream_cert_incomplete_chain")


@pytest.mark.security
@pytest.mark.parametrize(
    ("name", "word"),
    [("stranger fetched", "upstream_cert_untrusted"), ("wrong name fetched", "upstream_cert_wrong_host")],
)
def test_c11_what_is_fetched_is_not_believed_for_it(place: Place, name: str, word: str) -> None:
    assert place.ask(name, "soft")[:2] == (502, word)


@pytest.mark.security
def test_c11_a_certificate_sends_nobody_to_our_own_addresses(place: Place) -> None:
    """C11: the way out of this tenant may reach loopback, and still nothing there is fetched."""
    assert place.ask("intermediate to be fetched", "shut")[:2] == (502, "upstream_cert_incomplete_chain")
    assert place.ask("by list", "shut")[0] == 200
    assert place.event("by list", "shut")["server_tls"]["revocation"].startswith("unknown (")
