"""What a client meets: the forged leaf, and the TLS that a proxy agrees to (the list of Waked 2018 and Durumeric 2017)."""

import subprocess
from datetime import UTC, datetime, timedelta

from cryptography import x509

from bench.tls_contenders import Proxy
from tests.tlslab.asking import ask, target
from tests.tlslab.case import LabCase

_OFFERS = {
    "TLS 1.0 or 1.1": ["-no_tls1_2", "-no_tls1_3", "-cipher", "ALL:@SECLEVEL=0"],
    "TLS 1.2 with CBC only": ["-tls1_2", "-cipher", "ECDHE+SHA1:ECDHE+SHA256:!AESGCM:!CHACHA20:@SECLEVEL=0"],
    "TLS 1.2 without forward secrecy": ["-tls1_2", "-cipher", "kRSA:@SECLEVEL=0"],
    "TLS 1.2": ["-tls1_2"],
    "TLS 1.3": ["-tls1_3"],
}


def probe(proxy: Proxy, case: LabCase, port: int) -> dict[str, str]:
    """Facts by title; ``case`` is a good server at ``port``."""
    shown = ask(proxy.port, case, port, proxy.ca, strict=False)
    facts = _leaf(shown.leaf, x509.load_pem_x509_certificate(proxy.ca.read_bytes())) if shown.leaf else {}
    return facts | {title: _agrees(proxy, target(case, port), offer) for title, offer in _OFFERS.items()}


def _leaf(leaf: x509.Certificate, ca: x509.Certificate) -> dict[str, str]:
    day = timedelta(days=1)
    present = {type(extension.value) for extension in leaf.extensions}
    return {
        "leaf has the CA's own key": _yes(leaf.public_key() == ca.public_key()),
        "serial number, bits": str(leaf.serial_number.bit_length()),
        "valid for, days": str(round((leaf.not_valid_after_utc - leaf.not_valid_before_utc) / day)),
        "backdated by, hours": str(round((datetime.now(UTC) - leaf.not_valid_before_utc) / timedelta(hours=1))),
        "key identifiers of issuer and subject": _yes({x509.AuthorityKeyIdentifier, x509.SubjectKeyIdentifier} <= present),
        "basicConstraints, keyUsage, extendedKeyUsage": _yes(
            {x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage} <= present
        ),
    }


def _agrees(proxy: Proxy, where: str, offer: list[str]) -> str:
    command = ["openssl", "s_client", "-proxy", f"127.0.0.1:{proxy.port}", "-connect", where, "-servername", "origin.test"]
    done = subprocess.run([*command, *offer], input=b"", capture_output=True, timeout=30)
    return _yes(b"BEGIN CERTIFICATE" in done.stdout and b"Cipher is (NONE)" not in done.stdout)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
