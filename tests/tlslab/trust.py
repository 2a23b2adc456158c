"""Chains that ordinary tools would not make, and roots whose time is over."""

from datetime import timedelta

from cryptography import x509

from tests.certs import asn1
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import CA, LEAF, NOW, Pair
from tests.tlslab.case import Expect, Lab, LabCase, Plain

DAY = timedelta(days=1)
SHA384_WITH_ECDSA = bytes.fromhex("06082a8648ce3d040303")


def mismatched_algorithm(lab: Lab) -> Plain:
    """Outside another signature algorithm than inside (RFC 5280 section 4.1.1.2 wants the same)."""
    leaf = forge.issue(LEAF, lab.world.intermediate)
    tbs, _, signature = asn1.parts(asn1.parts(leaf.der)[0][1])
    body = asn1.encode(*tbs) + asn1.encode(asn1.SEQUENCE, SHA384_WITH_ECDSA) + asn1.encode(*signature)
    return Plain(Pair(asn1.encode(asn1.SEQUENCE, body), leaf.key, leaf.name, leaf.shift), [lab.world.intermediate])


def reversed_times(lab: Lab) -> Plain:
    """Valid from tomorrow until yesterday."""
    late, early = (
        forge.issue(LEAF.but(**times), lab.world.intermediate) for times in ({"start": NOW + DAY}, {"end": NOW - DAY})
    )
    start, end = _validity(late)[0], _validity(early)[1]

    def change(fields: list[tuple[int, bytes]]) -> None:
        fields[4] = (asn1.SEQUENCE, asn1.encode(*start) + asn1.encode(*end))

    return Plain(forge.altered(late, lab.world.intermediate, change), [lab.world.intermediate])


def _validity(pair: Pair) -> list[tuple[int, bytes]]:
    return asn1.parts(asn1.parts(asn1.parts(asn1.parts(pair.der)[0][1])[0][1])[4][1])


def idna_as_text(lab: Lab) -> Plain:
    """The name in UTF-8 where only ASCII may stand: A-labels are what is compared (RFC 9525 section 6.3)."""
    leaf = forge.issue(LEAF.but(names=[x509.DNSName("bxxcher.test")], common_name=None), lab.world.intermediate)

    def change(fields: list[tuple[int, bytes]]) -> None:
        fields[-1] = (fields[-1][0], fields[-1][1].replace(b"bxxcher", "bücher".encode()))

    return Plain(forge.altered(leaf, lab.world.intermediate, change), [lab.world.intermediate])


def empty_names(lab: Lab) -> Plain:
    return Plain(forge.issue(LEAF.but(names=None, common_name=None), lab.world.intermediate), [lab.world.intermediate])


def below_old_root(lab: Lab) -> Plain:
    return Plain(forge.issue(LEAF, lab.old), [lab.old])


def below_future_root(lab: Lab) -> Plain:
    return Plain(forge.issue(LEAF, lab.future), [lab.future])


def old_root(shift: timedelta) -> Pair:
    return forge.issue(CA.but(common_name="Old Root", key=forge.ec_key(4), end=NOW - DAY), None, shift=shift)


def future_root(shift: timedelta) -> Pair:
    return forge.issue(CA.but(common_name="Future Root", key=forge.ec_key(5), start=NOW + DAY), None, shift=shift)


REFUSE = Expect.MUST_REFUSE
CASES = [
    LabCase("trust", "mismatched algorithm identifiers", REFUSE, "upstream_cert_bad_signature", mismatched_algorithm),
    LabCase("trust", "expired root", REFUSE, "upstream_cert_expired", below_old_root),
    LabCase("trust", "future root", REFUSE, "upstream_cert_not_yet_valid", below_future_root),
    LabCase("time", "reversed", REFUSE, "upstream_cert_not_yet_valid", reversed_times),
    LabCase("names", "IDNA as UTF-8", REFUSE, "upstream_cert_wrong_host", idna_as_text, "xn--bcher-kva.test"),
    LabCase("names", "empty", REFUSE, "upstream_cert_wrong_host", empty_names),
]
