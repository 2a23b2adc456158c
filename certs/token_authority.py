"""Authorities whose key is in a token, and whose certificate is in a file."""

from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.domain.clock import Clock, SystemClock
from appliance.domain.errors import InternalError
from certs import nursery
from certs.authority import Authority, AuthorityError, Fault, load_public
from certs.generations import CERTIFICATE
from certs.strength import key_weakness
from certs.token_key import EcTokenKey, RsaTokenKey, open_key
from certs.tokens import Tokens, TokenSite

_PROOF = b"Arcus: proof of a CA's key"


def load_or_create(
    directory: Path,
    name: str,
    common_name: str,
    validity_days: int,
    site: TokenSite,
    tokens: Tokens,
    certificate: Path | None = None,
    clock: Clock | None = None,
) -> Authority:
    """The authority ``name``, with its certificate from the file, else from ``directory/name``, where it is made when absent.

    Raises:
        AuthorityError: the token or the key in it cannot be used, the certificate is another key's, or it must not sign.
    """
    clock = clock or SystemClock()
    key = open_key(tokens, site)
    _prove(key, site)
    if certificate is None:
        home = directory / name
        try:
            nursery.ensure_certificate(home, nursery.Seed(common_name, "token", validity_days), key, clock)
        except OSError as error:
            raise AuthorityError(Fault.UNREADABLE, home, f"cannot create the CA: {error.strerror}") from error
        certificate = home / CERTIFICATE
    return load(name, certificate, key, site, clock)


def certify(tokens: Tokens, site: TokenSite, seed: nursery.Seed, clock: Clock) -> bytes:
    """A certificate, in PEM, that the key signs for itself. Raises AuthorityError."""
    key = open_key(tokens, site)
    _prove(key, site)
    if weakness := key_weakness(key):
        raise AuthorityError(Fault.WEAK, site.module, f"key {site.label!r} of token {site.token} is too weak: {weakness}")
    return nursery.self_signed(seed, key, clock).public_bytes(Encoding.PEM)


def load(name: str, certificate: Path, key: EcTokenKey | RsaTokenKey, site: TokenSite, clock: Clock) -> Authority:
    """The certificate in the file with the key in the token. Raises AuthorityError."""
    public = load_public(name, certificate, clock)
    if weakness := key_weakness(key):
        raise AuthorityError(Fault.WEAK, site.module, f"key {site.label!r} of token {site.token} is too weak: {weakness}")
    if key.public_key() != public.certificate.public_key():
        message = f"the certificate is not that of key {site.label!r} in token {site.token}"
        raise AuthorityError(Fault.KEY_MISMATCH, certificate, message)
    return Authority(public.name, public.certificate, public.chain, key)


def _prove(key: EcTokenKey | RsaTokenKey, site: TokenSite) -> None:
    """The public key in a token is an object of its own: whether it is that of the private one, only a signature tells."""
    try:
        if isinstance(key, EcTokenKey):
            signature = key.sign(_PROOF, ec.ECDSA(SHA256()))
            key.public_key().verify(signature, _PROOF, ec.ECDSA(SHA256()))
        else:
            signature = key.sign(_PROOF, padding.PKCS1v15(), SHA256())
            key.public_key().verify(signature, _PROOF, padding.PKCS1v15(), SHA256())
    except InvalidSignature as error:
        message = f"the public key labelled {site.label!r} in token {site.token} is not that of the private one"
        raise AuthorityError(Fault.KEY_MISMATCH, site.module, message) from error
    except InternalError as error:
        raise AuthorityError(Fault.NO_KEY, site.module, f"key {site.label!r} cannot sign: {error.detail}") from error
