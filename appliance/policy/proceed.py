"""The secret of a warning page's button: an authenticated token that is good for one fault, one client and a few minutes."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Final

from appliance.domain.errors import PolicyError
from appliance.domain.proceed import Warned
from appliance.domain.reason import Reason
from appliance.domain.seal import Seal

PURPOSE: Final = "arcus certificate warning 1"
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
    """Claims as tokens (``appliance.domain.seal``)."""

    def __init__(self, key: bytes) -> None:
        self._seal = Seal(key, PURPOSE, MAX_TOKEN)

    def seal(self, claim: Claim) -> str:
        """The token: letters, digits, ``-``, ``_`` and one dot."""
        return self._seal.seal(json.dumps(dataclasses.asdict(claim), separators=(",", ":"), sort_keys=True).encode())

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
        try:
            payload = self._seal.open(token)
        except ValueError as error:
            raise PolicyError(Reason.PROCEED_INVALID, str(error)) from error
        # authenticated: only this class writes such bytes
        fields: dict[str, Any] = json.loads(payload)
        return Claim(Warned(**fields.pop("warned")), **fields)


def _differences(one: Warned, other: Warned) -> list[str]:
    return [field.name for field in dataclasses.fields(Warned) if getattr(one, field.name) != getattr(other, field.name)]


def safe_path(path: str) -> str:
    """A path on the same site that a redirect may name; ``/`` for everything else (``//host`` is another site)."""
    plain = path.isascii() and path.isprintable() and " " not in path and "\\" not in path
    local = path.startswith("/") and not path.startswith("//") and len(path) <= MAX_PATH
    return path if plain and local else "/"
