"""Certificates that are right in every word and not written as DER, over real TLS and as bytes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.clock import ManualClock
from appliance.domain.reason import Reason
from certs.encoding import misencoding
from certs.trust import UpstreamTrust
from tests.certs import forge_origin as forge
from tests.certs.asn1 import encode
from tests.certs.cases import CONTROLS, pem
from tests.certs.forge_origin import LEAF, NOW
from tests.certs.tls_pair import bad_server, handshake, sending

TLS12, TLS13 = 0x0303, 0x0304


def listed(*certificates: bytes, version: int = TLS12) -> bytes:
    """A Certificate message without its header."""
    after = b"\0\0" if version == TLS13 else b""
    entries = b"".join(len(each).to_bytes(3) + each + after for each in certificates)
    return (b"\0" if version == TLS13 else b"") + len(entries).to_bytes(3) + entries


@pytest.mark.parametrize("version", [TLS12, TLS13])
@given(content=st.binary(max_size=300), above=st.binary(max_size=20))
def test_der_is_never_refused(version, content, above):
    assert misencoding(listed(encode(0x30, content), above, version=version), version) == ""


@pytest.mark.parametrize("size", [0, 127, 128, 255, 256, 70000])
def test_lengths_at_their_limits(size):
    content = bytes(size)
    octets = encode(0x30, content)[1:-size] if size else b"\0"
    assert misencoding(listed(b"\x30" + octets + content), TLS12) == ""
    longer = (
        b"\x30" + bytes([0x80 | (len(octets) - (size > 127) + 1)]) + size.to_bytes(len(octets) - (size > 127) + 1) + content
    )
    for bad in (longer, b"\x30\x80" + content + b"\0\0", b"\x31" + octets + content, b"\x30" + octets + content + b"\0"):
        assert "DER" in misencoding(listed(bad), TLS12)


@given(st.binary(max_size=100), st.sampled_from([TLS12, TLS13, 0]))
def test_whatever_arrives_never_crashes(message, version):
    assert isinstance(misencoding(message, version), str)


@pytest.mark.parametrize("tls12", [True, False], ids=["tls12", "tls13"])
def test_tls_01_a_leaf_that_is_not_der_is_malformed(tmp_path: Path, tls12: bool) -> None:
    """The handshake of TLS 1.3 is encrypted: there the good leaf shows that nothing is refused by mistake."""
    file = tmp_path / "roots.pem"
    file.write_bytes(pem(forge.world().root))
    trust = UpstreamTrust([file], system_roots=False, clock=ManualClock(NOW.timestamp()))
    leaf, *chain = CONTROLS[0].make(forge.world())
    client = trust.connection("origin.test")
    assert handshake(client, bad_server(leaf, chain, tls12=tls12)) is None
    if not tls12:
        return
    der = forge.issue(LEAF, forge.world().intermediate).der
    client = trust.connection("origin.test")
    error = handshake(client, bad_server(leaf, chain, tls12=True), sending(b"\x30\x80" + der[4:] + b"\0\0", chain[0].der))
    verdict = trust.verdict(client, error)
    assert (verdict.reason, "DER" in verdict.detail) == (Reason.UPSTREAM_CERT_MALFORMED, True)
