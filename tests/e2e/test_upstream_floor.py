"""C19: servers that cannot do better, let pass for single hosts; keys that nobody trusts; the web's profile."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from certs.fingerprint import spki_sha256
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import LEAF
from tests.e2e import sockets
from tests.e2e.running import Running, base_config, running
from tests.tlslab.case import Expect, Lab, LabCase, Plain
from tests.tlslab.serving import CONTENT, Serving, serving
from tests.tlslab.table import CASES

pytestmark = [pytest.mark.e2e, pytest.mark.security, pytest.mark.xdist_group("e2e-floor")]

OLD_SUITE = "ECDHE-ECDSA-AES128-SHA"
TENANTS = {"plain": 1, "legacy": 2, "pinned": 3, "strict": 4}
"""Third octet of the clients' addresses."""
DISTRUSTED = forge.ec_key(91)


def handmade(lab: Lab) -> Plain:
    """As private CAs often make them: without key identifiers."""
    return Plain(forge.issue(LEAF.but(identifiers=False), lab.world.intermediate), [lab.world.intermediate])


def distrusted(lab: Lab) -> Plain:
    return Plain(forge.issue(LEAF.but(key=DISTRUSTED), lab.world.intermediate), [lab.world.intermediate])


OWN = [
    LabCase("own", "handmade", Expect.MUST_PASS, "", handmade),
    LabCase("own", "distrusted", Expect.MUST_PASS, "", distrusted),
]
TAKEN = ("parameters: TLS 1.0", "parameters: TLS 1.1", "weak: RSA 1024", "weak: SHA-1 ECDSA", "controls: plain")


@dataclass
class Place:
    arcus: Running
    lab: Serving
    cases: dict[str, LabCase]

    def ask(self, name: str, tenant: str) -> tuple[int, str, bytes]:
        """Status, reason word and body."""
        case = self.cases[name]
        where = f"{case.host}:{self.lab.port(case)}"
        with (
            sockets.connect(self.arcus.port("explicit"), where, source=f"127.0.{TENANTS[tenant]}.1") as tunnel,
            sockets.tls(tunnel, case.host, self.arcus.ca()) as sock,
        ):
            sock.sendall(f"GET / HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n\r\n".encode())
            status, headers, body = sockets.read_response(sock)
            return status, headers.get("x-arcus-reason", ""), body


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("floor")
    cases = [*(case for case in CASES if str(case) in TAKEN), *OWN]
    with serving(cases, directory) as lab, running(_config(directory, lab), directory) as arcus:
        yield Place(arcus, lab, {str(case): case for case in cases})


def _config(directory: Path, lab: Serving) -> dict[str, Any]:
    def auditor(name: str, **interception: Any) -> dict[str, Any]:
        trust = {"ca_files": [str(lab.roots)], "system_roots": False} | interception.pop("trust", {})
        return {"name": name, "tls_interception": {"upstream_trust": trust, **interception}}

    floor = {"min_version": "1.0", "ciphers": [OLD_SUITE], "sha1": True, "min_rsa_bits": 1024}
    pin = spki_sha256(forge.issue(LEAF.but(key=DISTRUSTED), forge.world().root).certificate)
    return base_config(
        directory / "state",
        resolver=[{"name": "local", "type": "system", "hosts": {host: ["127.0.0.1"] for host in lab.hosts}}],
        auditor=[
            auditor("plain"),
            auditor("legacy", upstream_tls={"legacy": [{"hosts": ["origin.test"], "reason": "an old printer", **floor}]}),
            auditor("pinned", upstream_certificates={"distrusted_keys": [pin]}),
            auditor("strict", trust={"strict": True}),
        ],
        tenant=[
            {
                "tenant_id": name, "ca": "default", "auditor": name, "escaper": "direct",
                "match": {"networks": [f"127.0.{octet}.0/24"]},
            }
            for name, octet in TENANTS.items()
        ],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("parameters: TLS 1.0", "upstream_tls_version"),
        ("parameters: TLS 1.1", "upstream_tls_version"),
        ("weak: SHA-1 ECDSA", "upstream_cert_weak_signature"),
        ("weak: RSA 1024", "upstream_cert_weak_key"),
    ],
)
def test_c19_a_legacy_host_passes_where_it_is_named(place: Place, name: str, word: str) -> None:
    assert place.ask(name, "plain")[:2] == (502, word)
    status, _, body = place.ask(name, "legacy")
    assert (status, body) == (200, CONTENT)


def test_c2_a_distrusted_key_is_refused(place: Place) -> None:
    assert place.ask("own: distrusted", "plain")[0] == 200
    assert place.ask("own: distrusted", "pinned")[:2] == (502, "upstream_cert_distrusted")
    assert place.ask("controls: plain", "pinned")[0] == 200


def test_c2_the_webs_profile_is_a_choice(place: Place) -> None:
    assert place.ask("own: handmade", "plain")[0] == 200
    assert place.ask("own: handmade", "strict")[:2] == (502, "upstream_cert_profile")
    assert place.ask("controls: plain", "strict")[0] == 200
