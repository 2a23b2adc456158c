"""Servers with a good certificate that choose what nobody should agree to any more."""

from collections.abc import Callable
from typing import Any

from tests.certs import forge_origin as forge
from tests.certs.forge_origin import LEAF
from tests.tlslab import moduli
from tests.tlslab.case import Expect, Lab, LabCase, Plain, Service
from tests.tlslab.record import SSL3, TLS10, TLS11
from tests.tlslab.scripted import P192, X25519, Script

TO_TLS12, TO_OLDER = b"DOWNGRD\x01", b"DOWNGRD\x00"


def scripted(suite: str = "ECDHE-ECDSA-AES128-GCM", **options: Any) -> Callable[[Lab], Script]:
    def serve(lab: Lab) -> Script:
        template = LEAF if "ECDSA" in suite else LEAF.but(key=forge.rsa_key(2048), usage=_both())
        leaf = forge.issue(template, lab.world.intermediate)
        return Script([leaf.der, lab.world.intermediate.der], leaf.key, suite, **options)

    return serve


def _both() -> Any:
    return forge.key_usage(digital_signature=True, key_encipherment=True)


def anonymous(suite: str, modulus: int = 0) -> Callable[[Lab], Script]:
    """Nobody says who the server is."""
    return lambda _: Script(None, forge.ec_key(), suite, modulus=modulus)


def finite_field(modulus: Callable[[], int]) -> Callable[[Lab], Script]:
    return lambda lab: scripted("DHE-RSA-AES128-GCM", modulus=modulus())(lab)


def openssl(lab: Lab) -> Plain:
    return Plain(forge.issue(LEAF, lab.world.intermediate), [lab.world.intermediate])


def _good(name: str, serve: Callable[[Lab], Service]) -> LabCase:
    return LabCase("parameters", name, Expect.MUST_PASS, "ok", serve)


def _bad(name: str, word: str, serve: Callable[[Lab], Service], expect: Expect = Expect.MUST_REFUSE) -> LabCase:
    return LabCase("parameters", name, expect, f"upstream_tls_{word}", serve)


SHOULD = Expect.SHOULD_REFUSE
OLD = "ECDHE-ECDSA-AES128-SHA"
CASES = [
    _good("TLS 1.3", openssl),
    _good("TLS 1.2, ECDSA", scripted()),
    _good("TLS 1.2, RSA", scripted("ECDHE-RSA-AES128-GCM")),
    _good("TLS 1.2, X25519", scripted(curve=X25519)),
    _bad("SSL 3", "version", scripted("RSA-AES128-SHA", version=SSL3)),
    _bad("TLS 1.0", "version", scripted(OLD, version=TLS10)),
    _bad("TLS 1.1", "version", scripted(OLD, version=TLS11)),
    _bad("downgrade sentinel for 1.2", "version", scripted(sentinel=TO_TLS12)),
    _bad("downgrade sentinel for 1.1", "version", scripted(sentinel=TO_OLDER)),
    _bad("RC4", "cipher", scripted("RSA-RC4-SHA")),
    _bad("NULL", "cipher", scripted("RSA-NULL-SHA")),
    _bad("3DES", "cipher", scripted("RSA-3DES-SHA")),
    _bad("export", "cipher", scripted("RSA-EXPORT-RC4-40")),
    _bad("anonymous DH", "cipher", anonymous("DH-anon-AES128-SHA", moduli.MODP_1024)),
    _bad("anonymous ECDH", "cipher", anonymous("ECDH-anon-AES128-SHA")),
    _bad("DHE 512", "cipher", finite_field(moduli.prime_512)),
    _bad("DHE 1024", "cipher", finite_field(lambda: moduli.MODP_1024)),
    _bad("DHE with a composite modulus", "cipher", finite_field(moduli.composite_2048), SHOULD),
    _bad("static RSA", "cipher", scripted("RSA-AES128-GCM"), SHOULD),
    _bad("static RSA with CBC", "cipher", scripted("RSA-AES128-SHA"), SHOULD),
    _bad("CBC only", "cipher", scripted(OLD), SHOULD),
    _bad("no secure renegotiation", "cipher", scripted(renegotiation_info=False)),
    _bad("compression", "failed", scripted(compression=1)),
    _bad("P-192", "key", scripted(curve=P192)),
    _bad("a point off the curve", "key", scripted(point=b"\x04" + bytes(63) + b"\x01")),
    _bad("the point zero", "key", scripted(curve=X25519, point=bytes(32))),
    _bad("SHA-1 in ServerKeyExchange", "signature", scripted(hash="sha1")),
    _bad("MD5 in ServerKeyExchange", "signature", scripted("ECDHE-RSA-AES128-GCM", hash="md5")),
    _bad("broken ServerKeyExchange", "signature", scripted(break_signature=True)),
]
