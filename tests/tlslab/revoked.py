"""Certificates that their issuer has taken back, told in every way there is."""

from collections.abc import Callable
from datetime import timedelta

from cryptography import x509

from tests.certs import forge_origin as forge
from tests.certs.forge_origin import CA, LEAF, Pair
from tests.tlslab.case import Expect, Lab, LabCase, Plain
from tests.tlslab.revocation import crl, crl_at, issuer_at, ocsp_at, ocsp_response

MUST_STAPLE = LEAF.but(extra=((x509.TLSFeature([x509.TLSFeatureType.status_request]), False),), serial=0x5001)


def listed(serial: int, *, revoked: bool) -> Callable[[Lab], Plain]:
    """A leaf that names its issuer's list of revoked certificates."""

    def serve(lab: Lab) -> Plain:
        issuer = lab.world.intermediate
        lab.answers[f"{serial:x}.crl"] = lambda _: ("application/pkix-crl", crl(issuer, *([serial] if revoked else [1])))
        leaf = forge.issue(LEAF.but(serial=serial, extra=(crl_at(f"{lab.web}/{serial:x}.crl"),)), issuer)
        return Plain(leaf, [issuer])

    return serve


def asked(serial: int, *, revoked: bool) -> Callable[[Lab], Plain]:
    """A leaf that names its issuer's OCSP responder."""

    def serve(lab: Lab) -> Plain:
        issuer = lab.world.intermediate
        leaf = forge.issue(LEAF.but(serial=serial, extra=(ocsp_at(f"{lab.web}/ocsp-{serial:x}"),)), issuer)
        response = ocsp_response(leaf, issuer, revoked=revoked)
        lab.answers[f"ocsp-{serial:x}"] = lambda _: ("application/ocsp-response", response)
        return Plain(leaf, [issuer])

    return serve


def stapled(template: forge.Template, *, revoked: bool) -> Callable[[Lab], Plain]:
    def serve(lab: Lab) -> Plain:
        leaf = forge.issue(template, lab.world.intermediate)
        return Plain(leaf, [lab.world.intermediate], ocsp_response(leaf, lab.world.intermediate, revoked=revoked))

    return serve


def staple_absent(lab: Lab) -> Plain:
    return Plain(forge.issue(MUST_STAPLE, lab.world.intermediate), [lab.world.intermediate])


def intermediate_listed(lab: Lab) -> Plain:
    """The leaf is good; the root has taken back the intermediate."""
    root, serial = lab.world.root, 0x4005
    lab.answers["root.crl"] = lambda _: ("application/pkix-crl", crl(root, serial))
    template = CA.but(common_name="Revoked CA", key=forge.ec_key(41), serial=serial, extra=(crl_at(f"{lab.web}/root.crl"),))
    issuer = forge.issue(template, root)
    return Plain(forge.issue(LEAF, issuer), [issuer])


def repaired(lab: Lab) -> Plain:
    """The intermediate is not sent; the leaf says where it is."""
    issuer = _fetched_issuer(lab.world.root)
    lab.answers["fetched.cer"] = lambda _: ("application/pkix-cert", issuer.der)
    return Plain(forge.issue(LEAF.but(extra=(issuer_at(f"{lab.web}/fetched.cer"),)), issuer))


def _fetched_issuer(root: Pair) -> Pair:
    return forge.issue(CA.but(common_name="Fetched CA", key=forge.ec_key(42), end=forge.NOW + timedelta(days=900)), root)


REVOKED = "upstream_cert_revoked"
SHOULD, PASS = Expect.SHOULD_REFUSE, Expect.MUST_PASS
CASES = [
    LabCase("revoked", "by list", SHOULD, REVOKED, listed(0x4001, revoked=True)),
    LabCase("revoked", "by OCSP", SHOULD, REVOKED, asked(0x4002, revoked=True)),
    LabCase("revoked", "by staple", SHOULD, REVOKED, stapled(LEAF.but(serial=0x4003), revoked=True)),
    LabCase("revoked", "must-staple without one", SHOULD, "upstream_cert_staple_missing", staple_absent),
    LabCase("revoked", "intermediate, by list", SHOULD, REVOKED, intermediate_listed),
    LabCase("controls", "not on the list", PASS, "ok", listed(0x4006, revoked=False)),
    LabCase("controls", "OCSP says good", PASS, "ok", asked(0x4007, revoked=False)),
    LabCase("controls", "must-staple with one", PASS, "ok", stapled(MUST_STAPLE, revoked=False)),
]
AIA = LabCase("controls", "intermediate to be fetched", Expect.MUST_PASS, "ok", repaired)
"""Passes where the appliance repairs incomplete chains."""
