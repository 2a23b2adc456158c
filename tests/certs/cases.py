"""Every way in which a server's certificate may be right or wrong, and the word that says so."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from appliance.domain.reason import Reason
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import CA, LEAF, NOW, Pair, World

DAY = timedelta(days=1)
OK, MALFORMED = Reason.OK, Reason.UPSTREAM_CERT_MALFORMED
WEAK_KEY, WEAK_SIGNATURE = Reason.UPSTREAM_CERT_WEAK_KEY, Reason.UPSTREAM_CERT_WEAK_SIGNATURE
BAD_SIGNATURE, NO_CA = Reason.UPSTREAM_CERT_BAD_SIGNATURE, Reason.UPSTREAM_CERT_ISSUER_NOT_CA
EKU, USAGE_WORD = Reason.UPSTREAM_CERT_WRONG_EKU, Reason.UPSTREAM_CERT_KEY_USAGE
CONSTRAINED, UNKNOWN_CRITICAL = Reason.UPSTREAM_CERT_NAME_CONSTRAINTS, Reason.UPSTREAM_CERT_CRITICAL_EXTENSION
HOST, UNTRUSTED = Reason.UPSTREAM_CERT_WRONG_HOST, Reason.UPSTREAM_CERT_UNTRUSTED
EXPIRED, EARLY = Reason.UPSTREAM_CERT_EXPIRED, Reason.UPSTREAM_CERT_NOT_YET_VALID

type Chain = tuple[Pair, ...]


@dataclass(frozen=True)
class Case:
    """``make`` gives the chain that the server sends, leaf first; ``host`` is what the client asks for."""

    name: str
    want: Reason
    make: Callable[[World], Chain]
    host: str = "origin.test"

    def __str__(self) -> str:
        return self.name


def below(template: forge.Template) -> Callable[[World], Chain]:
    """A leaf under the trusted root's intermediate."""
    return lambda w: (forge.issue(template, w.intermediate), w.intermediate)


def under(authority: forge.Template) -> Callable[[World], Chain]:
    """A good leaf under an intermediate of the trusted root."""

    def make(w: World) -> Chain:
        intermediate = forge.issue(authority, w.root)
        return forge.issue(LEAF, intermediate), intermediate

    return make


def named(*names: x509.GeneralName, common_name: str | None = "origin.test") -> Callable[[World], Chain]:
    return below(LEAF.but(names=names, common_name=common_name))


def dns(*names: str, common_name: str | None = None) -> Callable[[World], Chain]:
    return named(*map(x509.DNSName, names), common_name=common_name)


def changed(change: Callable[..., Pair], *args: object, **options: object) -> Callable[[World], Chain]:
    """A good leaf, altered and signed again by its issuer."""
    return lambda w: (change(forge.issue(LEAF, w.intermediate), w.intermediate, *args, **options), w.intermediate)


def ladder(length: int) -> Callable[[World], Chain]:
    """A leaf under ``length`` intermediates."""

    def make(w: World) -> Chain:
        chain = [w.root]
        for index in range(length):
            chain.append(forge.issue(CA.but(common_name=f"Step {index}", key=forge.ec_key(100 + index)), chain[-1]))
        return forge.issue(LEAF, chain[-1]), *reversed(chain[1:])

    return make


def constraints(
    permitted: list[x509.GeneralName] | None = None, excluded: list[x509.GeneralName] | None = None
) -> forge.Template:
    return CA.but(extra=((x509.NameConstraints(permitted, excluded), True),))


def weak_intermediate(algorithm: str) -> Callable[[World], Chain]:
    def make(w: World) -> Chain:
        intermediate = forge.weakly_signed(w.intermediate, w.root, algorithm)
        return forge.issue(LEAF, intermediate), intermediate

    return make


def rsa_issuer(algorithm: str) -> Callable[[World], Chain]:
    """A leaf with a weak RSA signature by a strong RSA key."""

    def make(w: World) -> Chain:
        intermediate = forge.issue(CA.but(key=forge.rsa_key(2048)), w.root)
        return forge.weakly_signed(forge.issue(LEAF, intermediate), intermediate, algorithm), intermediate

    return make


def version_1_intermediate(w: World) -> Chain:
    intermediate = forge.as_version_1(w.intermediate, w.root)
    return forge.issue(LEAF, intermediate), intermediate


def spoofed_root(w: World) -> Chain:
    """A root with the trusted one's name and key identifier, and another key."""
    fake = Pair(w.root.der, forge.ec_key(66), w.root.name, w.root.shift)
    return (forge.issue(LEAF.but(issuer_key=w.root.key), fake),)


IP4, IP6 = x509.IPAddress(ipaddress.ip_address("127.0.0.7")), x509.IPAddress(ipaddress.ip_address("::1"))
NET4 = x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
NO_USAGE = LEAF.but(usage=None, extended=None)

CONTROLS = [
    Case("plain", OK, below(LEAF)),
    Case("rsa 2048", OK, below(LEAF.but(key=forge.rsa_key(2048)))),
    Case("p384", OK, below(LEAF.but(key=forge.curve_key("SECP384R1")))),
    Case("wildcard", OK, dns("*.origin.test"), "www.origin.test"),
    Case("upper case", OK, dns("ORIGIN.Test")),
    Case("ip v4", OK, named(IP4), "127.0.0.7"),
    Case("ip v6", OK, named(IP6), "::1"),
    Case("idn", OK, dns("xn--bcher-kva.test"), "bücher.test"),
    Case("directly below the root", OK, lambda w: (forge.issue(LEAF, w.root),)),
    Case("root sent", OK, lambda w: (forge.issue(LEAF, w.intermediate), w.intermediate, w.root)),
    Case("junk sent", OK, lambda w: (forge.issue(LEAF, w.intermediate), w.stranger, w.intermediate)),
    Case("reversed", OK, lambda w: (forge.issue(LEAF, w.intermediate), w.root, w.intermediate)),
    Case("no common name", OK, dns("origin.test", common_name=None)),
    Case("1000 names", OK, dns(*(f"n{i}.test" for i in range(999)), "origin.test")),
    Case("no usage extensions", OK, below(NO_USAGE)),
    Case("no basicConstraints", OK, below(LEAF.but(ca=None))),
    Case(
        "any and server EKU", OK, below(LEAF.but(extended=[ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]))
    ),
    Case("permitted name", OK, under(constraints(permitted=[x509.DNSName("test")]))),
    Case("path length kept", OK, under(CA.but(path_length=0))),
    Case("chain of 10", OK, ladder(9)),
]

TRUST = [
    Case("self-signed", Reason.UPSTREAM_CERT_SELF_SIGNED, lambda w: (forge.issue(LEAF, None, shift=w.root.shift),)),
    Case("unknown CA, root sent", UNTRUSTED, lambda w: (forge.issue(LEAF, w.stranger), w.stranger)),
    Case("unknown CA, root not sent", UNTRUSTED, lambda w: (forge.issue(LEAF, w.stranger),)),
    Case(
        "missing intermediate",
        Reason.UPSTREAM_CERT_INCOMPLETE,
        lambda w: (forge.issue(LEAF.but(extra=((forge.ISSUER_ADDRESS, False),)), w.intermediate),),
    ),
    Case("spoofed root", BAD_SIGNATURE, spoofed_root),
    Case(
        "flipped signature",
        BAD_SIGNATURE,
        lambda w: (forge.with_signature_flipped(forge.issue(LEAF, w.intermediate)), w.intermediate),
    ),
    Case(
        "flipped intermediate",
        BAD_SIGNATURE,
        lambda w: (forge.issue(LEAF, w.intermediate), forge.with_signature_flipped(w.intermediate)),
    ),
    Case("CA:FALSE issuer", NO_CA, under(CA.but(ca=False))),
    Case("issuer without basicConstraints", NO_CA, under(CA.but(ca=None))),
    Case("version 1 intermediate", NO_CA, version_1_intermediate),
    Case("issuer without keyCertSign", NO_CA, under(CA.but(usage=forge.key_usage(crl_sign=True)))),
    Case("path length", Reason.UPSTREAM_CERT_PATH_LENGTH, lambda w: path_length(w)),
    Case("name constraints: not permitted", CONSTRAINED, under(constraints(permitted=[x509.DNSName("other.test")]))),
    Case("name constraints: excluded", CONSTRAINED, under(constraints(excluded=[x509.DNSName("origin.test")]))),
    Case("wildcard over an excluded name", CONSTRAINED, lambda w: wildcard_over_excluded(w), "secret.origin.test"),
    Case("wildcard beside an excluded name", OK, lambda w: wildcard_over_excluded(w), "public.origin.test"),
    Case("name constraints: ip", CONSTRAINED, lambda w: constrained_ip(w), "127.0.0.7"),
    Case("expired intermediate", EXPIRED, under(CA.but(end=NOW - DAY))),
    Case("future intermediate", EARLY, under(CA.but(start=NOW + DAY))),
    Case("intermediate for clients only", EKU, under(CA.but(extended=[ExtendedKeyUsageOID.CLIENT_AUTH]))),
    Case("unknown critical extension", UNKNOWN_CRITICAL, below(LEAF.but(extra=((UNKNOWN, True),)))),
    Case("unknown critical extension in intermediate", UNKNOWN_CRITICAL, under(CA.but(extra=((UNKNOWN, True),)))),
    Case("chain of 25", Reason.UPSTREAM_CERT_CHAIN_TOO_LONG, ladder(25)),
]

TIME = [
    Case("expired", EXPIRED, below(LEAF.but(end=NOW - DAY))),
    Case("expired a second ago", EXPIRED, below(LEAF.but(end=NOW - timedelta(seconds=1)))),
    Case("not yet valid", EARLY, below(LEAF.but(start=NOW + DAY))),
    Case("ten years", OK, below(LEAF.but(end=NOW + 3650 * DAY))),
]

NAMES = [
    Case("wrong host", HOST, dns("other.test")),
    Case("CN only", HOST, below(LEAF.but(names=None))),
    Case("CN right, SAN wrong", HOST, dns("other.test", common_name="origin.test")),
    Case("wildcard over two labels", HOST, dns("*.origin.test"), "a.b.origin.test"),
    Case("wildcard apex", HOST, dns("*.origin.test")),
    Case("partial wildcard", HOST, dns("o*.test")),
    Case("partial wildcard suffix", HOST, dns("*n.origin.test"), "in.origin.test"),
    Case("wildcard top-level domain", HOST, dns("*.test")),
    Case("bare wildcard", HOST, dns("*")),
    Case("wildcard in the middle", HOST, dns("www.*.test"), "www.origin.test"),
    Case("wildcard inside an A-label", HOST, dns("xn--*.origin.test"), "xn--bcher-kva.origin.test"),
    Case("two wildcards", HOST, dns("*.*.test"), "www.origin.test"),
    Case("NUL in SAN", HOST, dns("origin.test\0.evil.test")),
    Case("NUL beside a right name", MALFORMED, dns("origin.test", "bank.test\0.evil.test")),
    Case("NUL in CN", HOST, below(LEAF.but(common_name="origin.test\0.evil.test", names=None))),
    Case("ip as dNSName", HOST, dns("127.0.0.7"), "127.0.0.7"),
    Case("ip in CN", HOST, below(LEAF.but(common_name="127.0.0.7", names=None)), "127.0.0.7"),
    Case("ip in CN beside a SAN", HOST, dns("origin.test", common_name="127.0.0.7"), "127.0.0.7"),
    Case("wrong ip", HOST, named(x509.IPAddress(ipaddress.ip_address("127.0.0.8"))), "127.0.0.7"),
    Case("ip wildcard", HOST, dns("*.0.0.7"), "127.0.0.7"),
    Case("e-mail only", HOST, named(x509.RFC822Name("origin@origin.test"))),
    Case("URI only", HOST, named(x509.UniformResourceIdentifier("https://origin.test/"))),
    Case("trailing dot", HOST, dns("origin.test.")),
    Case("leading dot", HOST, dns(".origin.test"), "www.origin.test"),
]

STRENGTH = [
    Case("RSA 1024", WEAK_KEY, below(LEAF.but(key=forge.rsa_key(1024)))),
    Case("RSA 1024 intermediate", WEAK_KEY, under(CA.but(key=forge.rsa_key(1024)))),
    Case("P-192 intermediate", WEAK_KEY, under(CA.but(key=forge.curve_key("SECP192R1")))),
    Case("SHA-1 ECDSA", WEAK_SIGNATURE, changed(forge.weakly_signed, "ecdsa-sha1")),
    Case("SHA-1 RSA", WEAK_SIGNATURE, rsa_issuer("rsa-sha1")),
    Case("MD5 RSA", WEAK_SIGNATURE, rsa_issuer("rsa-md5")),
    Case("SHA-1 intermediate", WEAK_SIGNATURE, weak_intermediate("ecdsa-sha1")),
]

USAGE = [
    Case("EKU client", EKU, below(LEAF.but(extended=[ExtendedKeyUsageOID.CLIENT_AUTH]))),
    Case("EKU code", EKU, below(LEAF.but(extended=[ExtendedKeyUsageOID.CODE_SIGNING]))),
    Case("EKU OCSP", EKU, below(LEAF.but(extended=[ExtendedKeyUsageOID.OCSP_SIGNING]))),
    Case("EKU any only", EKU, below(LEAF.but(extended=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]))),
    Case("keyUsage certSign only", USAGE_WORD, below(LEAF.but(usage=forge.key_usage(key_cert_sign=True)))),
    Case("encipherOnly", USAGE_WORD, below(LEAF.but(usage=forge.key_usage(key_agreement=True, encipher_only=True)))),
    Case(
        "keyEncipherment only",
        USAGE_WORD,
        below(LEAF.but(key=forge.rsa_key(2048), usage=forge.key_usage(key_encipherment=True))),
    ),
    Case(
        "keyCertSign without CA", USAGE_WORD, below(LEAF.but(usage=forge.key_usage(digital_signature=True, key_cert_sign=True)))
    ),
    Case(
        "a constrained leaf", USAGE_WORD, below(LEAF.but(extra=((x509.NameConstraints([x509.DNSName("test")], None), True),)))
    ),
    Case("a CA as leaf", USAGE_WORD, below(LEAF.but(ca=True))),
]

FORM = [
    Case("version 1", HOST, changed(forge.as_version_1)),
    Case("version 1 with extensions", MALFORMED, changed(forge.as_version_1, keep_extensions=True)),
    Case("serial negative", MALFORMED, changed(forge.with_serial, b"\xff\x01")),
    Case("serial zero", MALFORMED, changed(forge.with_serial, b"\x00")),
    Case("serial of 21 octets", MALFORMED, changed(forge.with_serial, b"\x01" + bytes(20))),
    Case("SAN twice", MALFORMED, changed(forge.with_extension_twice)),
]


def path_length(w: World) -> Chain:
    upper = forge.issue(CA.but(path_length=0), w.root)
    lower = forge.issue(CA.but(common_name="Lower", key=forge.ec_key(9)), upper)
    return forge.issue(LEAF, lower), lower, upper


def wildcard_over_excluded(w: World) -> Chain:
    intermediate = forge.issue(constraints(excluded=[x509.DNSName("secret.origin.test")]), w.root)
    return forge.issue(LEAF.but(names=[x509.DNSName("*.origin.test")]), intermediate), intermediate


def constrained_ip(w: World) -> Chain:
    intermediate = forge.issue(constraints(permitted=[NET4]), w.root)
    return forge.issue(LEAF.but(names=[IP4]), intermediate), intermediate


CASES = [*CONTROLS, *TRUST, *TIME, *NAMES, *STRENGTH, *USAGE, *FORM]


def pem(*pairs: Pair) -> bytes:
    return b"".join(pair.certificate.public_bytes(Encoding.PEM) for pair in pairs)
