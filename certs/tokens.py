"""PKCS #11 tokens, HSMs or SoftHSM, as far as a CA's key needs them. Only the process that signs opens one."""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from appliance.domain.errors import InternalError
from appliance.domain.reason import Reason
from certs.authority import AuthorityError, Fault

logger = logging.getLogger(__name__)

type PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class TokenSite:
    """Where a key is: the library, the token's label, the key's label, and a file with the PIN."""

    module: Path
    token: str
    label: str
    pin_file: Path
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What the library reads from the environment, such as SOFTHSM2_CONF."""

    def labelled(self, label: str) -> "TokenSite":
        """Another key of the same token."""
        return replace(self, label=label)


class Tokens:
    """The tokens of this process. Calls may come from any thread, and are made one at a time: one session for each token.

    A session that is lost, because the token was taken out, or its daemon started anew, is opened again once for each call.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[tuple[Path, str], Any] = {}
        self._keys: dict[TokenSite, Any] = {}
        self._refused: dict[TokenSite, AuthorityError] = {}
        """Whose PIN was wrong: it is not tried again by this process, for after a few tries a token locks itself."""
        self.trouble = ""
        """Why the last signature could not be made; empty when it could."""

    def public_key(self, site: TokenSite) -> PublicKey:
        """Of the key at ``site``. Raises AuthorityError."""
        with self._lock:
            return _public_key(self._session(site), self._handle(site), site)

    def sign(self, site: TokenSite, data: bytes, mechanism: str) -> bytes:
        """The token's raw signature. Raises InternalError with ``signer_unavailable``."""
        import pkcs11

        how = pkcs11.Mechanism[mechanism]
        with self._lock:
            try:
                signature = self._twice(site, lambda key: bytes(key.sign(data, mechanism=how)))
            except (pkcs11.PKCS11Error, AuthorityError) as error:
                self._forget(site.module)
                self.trouble = f"token {site.token}: {_told(error)}"
                logger.error("a CA's key cannot be used: %s", self.trouble)
                raise InternalError(Reason.SIGNER_UNAVAILABLE, self.trouble) from error
            self.trouble = ""
            return signature

    def close(self) -> None:
        with self._lock:
            for module in {module for module, _ in self._sessions}:
                self._forget(module)

    def _twice(self, site: TokenSite, use: Callable[[Any], bytes]) -> bytes:
        import pkcs11

        try:
            return use(self._handle(site))
        except (pkcs11.PKCS11Error, AuthorityError) as error:
            if isinstance(error, AuthorityError) and error.fault is Fault.WRONG_PIN:
                raise  # a few more tries would lock the token
            logger.warning("the session with token %s was lost (%s); opening it again", site.token, _told(error))
        self._forget(site.module)
        return use(self._handle(site))

    def _handle(self, site: TokenSite) -> Any:
        if site not in self._keys:
            self._keys[site] = _find_key(self._session(site), site)
        return self._keys[site]

    def _session(self, site: TokenSite) -> Any:
        place = (site.module, site.token)
        if site in self._refused:
            raise self._refused[site]
        if place not in self._sessions:
            self._sessions[place] = self._opened(site)
        return self._sessions[place]

    def _opened(self, site: TokenSite) -> Any:
        try:
            return _open(site)
        except AuthorityError as error:
            if error.fault is Fault.WRONG_PIN:
                self._refused[site] = error
            raise

    def _forget(self, module: Path) -> None:
        """All sessions of a library, and the library's own state: only so can it find a token that was away."""
        import pkcs11

        for place in [place for place in self._sessions if place[0] == module]:
            del self._sessions[place]
        for site in [site for site in self._keys if site.module == module]:
            del self._keys[site]
        try:
            pkcs11.lib(str(module)).reinitialize()
        except pkcs11.PKCS11Error as error:
            logger.warning("%s cannot be initialised again: %s", module, _told(error))


def _open(site: TokenSite) -> Any:
    """A read-only session, logged in. Raises AuthorityError."""
    try:
        import pkcs11
    except ImportError as error:
        message = "python-pkcs11 is not installed: install Arcus with its extra pkcs11"
        raise AuthorityError(Fault.NO_MODULE, site.module, message) from error
    pin = _read_pin(site.pin_file)
    token = _token(site)
    try:
        return token.open(user_pin=pin)
    except pkcs11.UserAlreadyLoggedIn:  # by this very process: to be logged in belongs to all its sessions
        return token.open()
    except (pkcs11.PinIncorrect, pkcs11.PinLenRange, pkcs11.PinInvalid):
        # the PIN is in the frames of the library's error
        raise AuthorityError(Fault.WRONG_PIN, site.pin_file, f"token {site.token} does not accept the PIN in it") from None
    except pkcs11.PinLocked:
        raise AuthorityError(
            Fault.WRONG_PIN, site.pin_file, f"token {site.token} is locked after too many wrong PINs"
        ) from None
    except pkcs11.PKCS11Error as error:
        raise AuthorityError(Fault.NO_TOKEN, site.module, f"token {site.token} cannot be used: {_told(error)}") from None


def _token(site: TokenSite) -> Any:
    import pkcs11

    if not site.module.is_file():
        raise AuthorityError(Fault.NO_MODULE, site.module, "there is no PKCS #11 library")
    os.environ.update(site.environment)
    try:
        library = pkcs11.lib(str(site.module))
    except pkcs11.PKCS11Error as error:
        raise AuthorityError(Fault.NO_MODULE, site.module, f"cannot be loaded as a PKCS #11 library: {_told(error)}") from error
    try:
        return library.get_token(token_label=site.token)
    except pkcs11.NoSuchToken as error:
        raise AuthorityError(Fault.NO_TOKEN, site.module, f"no token is labelled {site.token!r}") from error
    except pkcs11.MultipleTokensReturned as error:
        raise AuthorityError(Fault.NO_TOKEN, site.module, f"several tokens are labelled {site.token!r}") from error
    except pkcs11.PKCS11Error as error:
        raise AuthorityError(Fault.NO_TOKEN, site.module, f"token {site.token!r}: {_told(error)}") from error


def _read_pin(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            if os.fstat(stream.fileno()).st_mode & 0o077:
                raise AuthorityError(Fault.EXPOSED, file, "other users can read the PIN in it: chmod 600")
            return stream.readline(256).rstrip("\r\n")
    except OSError as error:
        raise AuthorityError(Fault.UNREADABLE, file, f"the PIN cannot be read: {error.strerror}") from error


def _find_key(session: Any, site: TokenSite) -> Any:
    """The private key by its label. Raises AuthorityError, also for one that the token would give away."""
    from pkcs11 import Attribute, KeyType, ObjectClass

    # not get_key: of several, it leaves its search unfinished
    found = list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: site.label}))
    if len(found) != 1:
        message = f"token {site.token} has {'several private keys' if found else 'no private key'} labelled {site.label!r}"
        raise AuthorityError(Fault.NO_KEY, site.module, message)
    key = found[0]
    if key.key_type not in (KeyType.EC, KeyType.RSA):
        raise AuthorityError(Fault.WEAK, site.module, f"key {site.label!r} is neither EC nor RSA")
    if key[Attribute.EXTRACTABLE]:
        message = f"token {site.token} would give key {site.label!r} away (CKA_EXTRACTABLE): make it anew, or import it without"
        raise AuthorityError(Fault.EXPOSED, site.module, message)
    return key


def _public_key(session: Any, handle: Any, site: TokenSite) -> PublicKey:
    """From the private key's own attributes where it has them (RSA), else from the public key of the same label."""
    from pkcs11 import Attribute, KeyType, ObjectClass
    from pkcs11.util.ec import encode_ec_public_key

    if handle.key_type is KeyType.RSA:
        modulus = int.from_bytes(handle[Attribute.MODULUS])
        return rsa.RSAPublicNumbers(int.from_bytes(handle[Attribute.PUBLIC_EXPONENT]), modulus).public_key()
    found = list(session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: site.label}))
    if len(found) != 1:
        message = f"token {site.token} has no public key labelled {site.label!r} beside the private one"
        raise AuthorityError(Fault.NO_KEY, site.module, message)
    key = load_der_public_key(encode_ec_public_key(found[0]))
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise AuthorityError(Fault.WEAK, site.module, f"key {site.label!r} is on no curve that can be used")
    return key


def _told(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
