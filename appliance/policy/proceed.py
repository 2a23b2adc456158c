"""The secret of a warning page's button: an authenticated token that is good for one fault, one client and a few minutes."""

import base64
import binascii
import dataclasses
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any, Final

from appliance.domain.errors import PolicyError
from appliance.domain.proceed import Warned
from appliance.domain.reason import Reason

PURPOSE: Final = "arcus certificate warning 1"
"""Part of what is authenticated: the same key never makes a token of another kind that counts here."""
MAX_TOKEN: Final = 4096
MAX_PATH: Final = 1024


@dataclass(frozen=True, slots=True)
class Claim:
    """What a token says. Times are seconds since the epoch."""

    warned: Warned
    issued: float
    expires: float
    back: str
    """Path and query to go on to."""


class Sealer:
    """HMAC-SHA256 with a key of 32 bytes that every worker has."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError("a key of at least 32 bytes is needed")
        self._key = key

    def seal(self, claim: Claim) -> str:
        """The token: letters, digits, ``-``, ``_`` and one dot."""
        payload = json.dumps(dataclasses.asdict(claim), separators=(",", ":"), sort_keys=True).encode()
        return f"{_encode(payload)}.{_encode(self._mac(payload))}"

    def open(self, token: str, asking: Warned, now: float) -> Claim:
        """The claim of a token that ``asking`` presents; ``asking.cause`` and ``.certificate`` are taken from the token.

        Raises:
            PolicyError: PROCEED_INVALID, PROCEED_EXPIRED, or PROCEED_FOREIGN for another client, user or site.
        """
        claim = self._read(token)
        if claim.issued > now or not claim.issued < claim.expires:
            raise PolicyError(Reason.PROCEED_INVALID, "not issued yet")
        if now >= claim.expires:
            raise PolicyError(Reason.PROCEED_EXPIRED, f"{now - claim.expires:.0f} s ago")
        presented = dataclasses.replace(asking, cause=claim.warned.cause, certificate=claim.warned.certificate)
        if presented != claim.warned:
            raise PolicyError(Reason.PROCEED_FOREIGN, ", ".join(_differences(presented, claim.warned)))
        return claim

    def _read(self, token: str) -> Claim:
        payload, mac = (_decode(part) for part in _parts(token))
        if not hmac.compare_digest(mac, self._mac(payload)):
            raise PolicyError(Reason.PROCEED_INVALID, "not signed by this appliance")
        # authenticated from here on: only this class writes such bytes
        fields: dict[str, Any] = json.loads(payload)
        return Claim(Warned(**fields.pop("warned")), **fields)

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, PURPOSE.encode() + b"\0" + payload, hashlib.sha256)


def _parts(token: str) -> tuple[str, str]:
    payload, dot, mac = token.partition(".")
    if len(token) > MAX_TOKEN or not (payload and dot and mac):
        raise PolicyError(Reason.PROCEED_INVALID, "malformed")
    return payload, mac


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise PolicyError(Reason.PROCEED_INVALID, "malformed") from error
    if _encode(data) != text:
        raise PolicyError(Reason.PROCEED_INVALID, "malformed")  # one token, one spelling
    return data


def _differences(one: Warned, other: Warned) -> list[str]:
    return [field.name for field in dataclasses.fields(Warned) if getattr(one, field.name) != getattr(other, field.name)]


def safe_path(path: str) -> str:
    """A path on the same site that a redirect may name; ``/`` for everything else (``//host`` is another site)."""
    plain = path.isascii() and path.isprintable() and " " not in path and "\\" not in path
    local = path.startswith("/") and not path.startswith("//") and len(path) <= MAX_PATH
    return path if plain and local else "/"
