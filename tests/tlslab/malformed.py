"""Certificates that no library writes, sent to the very end of the handshake by the scripted server."""

import functools
import subprocess
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.certs import asn1
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import LEAF
from tests.tlslab.case import Expect, Lab, LabCase
from tests.tlslab.scripted import Script

UTF8_STRING, SET = 0x0C, 0x31
COMMON_NAME = bytes.fromhex("0603550403")


def raw(change: Callable[[bytes], bytes]) -> Callable[[Lab], Script]:
    """A good leaf whose bytes were changed, with its intermediate."""

    def serve(lab: Lab) -> Script:
        leaf = forge.issue(LEAF, lab.world.intermediate)
        return Script([change(leaf.der), lab.world.intermediate.der], leaf.key)

    return serve


def instead(*entries: bytes) -> Callable[[Lab], Script]:
    """Something else in place of the certificates."""
    return lambda lab: Script(entries, forge.ec_key())


def named(common_name: bytes) -> Callable[[Lab], Script]:
    """A good leaf with these bytes as its common name, signed by its issuer."""
    attribute = asn1.encode(asn1.SEQUENCE, COMMON_NAME + asn1.encode(UTF8_STRING, common_name))

    def change(fields: list[tuple[int, bytes]]) -> None:
        fields[5] = (asn1.SEQUENCE, asn1.encode(SET, attribute))

    def serve(lab: Lab) -> Script:
        leaf = forge.altered(forge.issue(LEAF, lab.world.intermediate), lab.world.intermediate, change)
        return Script([leaf.der, lab.world.intermediate.der], leaf.key)

    return serve


def long_length(der: bytes) -> bytes:
    """The outer length in one octet more than DER allows (X.690 section 10.1)."""
    (_, body) = asn1.parts(der)[0]
    return b"\x30\x83" + len(body).to_bytes(3) + body


def indefinite_length(der: bytes) -> bytes:
    return b"\x30\x80" + asn1.parts(der)[0][1] + b"\0\0"


def key_mismatch(lab: Lab) -> Script:
    """The server signs with a key that is not the certificate's."""
    leaf = forge.issue(LEAF, lab.world.intermediate)
    return Script([leaf.der, lab.world.intermediate.der], forge.ec_key(77))


@functools.cache
def small_key(bits: int) -> rsa.RSAPrivateKey:
    """Smaller than the library would make."""
    made = subprocess.run(["openssl", "genrsa", str(bits)], capture_output=True, check=True)
    key = load_pem_private_key(made.stdout, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def small_rsa(bits: int) -> Callable[[Lab], Script]:
    """A leaf with a small key, in a handshake that needs no larger one."""

    def serve(lab: Lab) -> Script:
        key = small_key(bits)
        leaf = forge.issue(LEAF.but(key=key), lab.world.intermediate)
        return Script([leaf.der, lab.world.intermediate.der], key, "ECDHE-RSA-AES128-GCM")

    return serve


def small_curve(lab: Lab) -> Script:
    """A leaf on P-192, which no client offers any more."""
    leaf = forge.issue(LEAF.but(key=forge.curve_key("SECP192R1")), lab.world.intermediate)
    return Script([leaf.der, lab.world.intermediate.der], leaf.key)


REFUSE = Expect.MUST_REFUSE
MALFORMED, WEAK_KEY = "upstream_cert_malformed", "upstream_cert_weak_key"
CASES = [
    LabCase("weak", "RSA 512", REFUSE, WEAK_KEY, small_rsa(512)),
    LabCase("weak", "RSA 768", REFUSE, WEAK_KEY, small_rsa(768)),
    LabCase("weak", "P-192", REFUSE, WEAK_KEY, small_curve),
    LabCase("malformed", "trailing bytes", REFUSE, MALFORMED, raw(lambda der: der + b"\0\0")),
    LabCase("malformed", "truncated", REFUSE, MALFORMED, raw(lambda der: der[:-20])),
    LabCase("malformed", "BER length", REFUSE, MALFORMED, raw(long_length)),
    LabCase("malformed", "indefinite length", REFUSE, MALFORMED, raw(indefinite_length)),
    LabCase("malformed", "not a certificate", REFUSE, MALFORMED, instead(b"\x30\x03\x02\x01\x05")),
    LabCase("malformed", "random bytes", REFUSE, MALFORMED, instead(bytes(range(256)))),
    LabCase("malformed", "zeros", REFUSE, MALFORMED, instead(bytes(500))),
    LabCase("malformed", "empty entry", REFUSE, MALFORMED, instead(b"")),
    LabCase("malformed", "empty list", REFUSE, MALFORMED, instead()),
    LabCase("malformed", "bad UTF-8", REFUSE, MALFORMED, named(b"origin\xff\xfe.test")),
    # curl, GnuTLS and chromium believe it: what matters is that nobody chokes on it
    LabCase("malformed", "name of 64 KiB", Expect.MUST_PASS, "ok", named(b"a" * 65536)),
    LabCase("malformed", "key mismatch", REFUSE, "upstream_tls_signature", key_mismatch),
]
