"""Request targets (RFC 9112 section 3.2): one form per method and no spelling that two readers split differently."""

from dataclasses import dataclass
from enum import Enum, auto

from appliance.domain.target import Target, parse_authority
from appliance.engine.http.faults import BadMessage, Fault
from appliance.engine.http.grammar import ABSOLUTE_URI, PATH

DEFAULT_PORTS = {b"http": 80, b"https": 443}

# Methods that a reader may treat specially, so that their spelling in another case changes the framing or the verdict.
_KNOWN_METHODS = frozenset((b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT", b"TRACE"))


class TargetForm(Enum):
    ORIGIN = auto()
    ABSOLUTE = auto()
    AUTHORITY = auto()
    ASTERISK = auto()


@dataclass(frozen=True, slots=True)
class RequestTarget:
    form: TargetForm
    scheme: bytes
    """In lower case; empty unless absolute."""
    authority: bytes
    path: bytes
    """What an origin gets: starts with ``/`` or is ``*``; empty in authority-form."""


def check_method(method: bytes) -> None:
    if method not in _KNOWN_METHODS and method.upper() in _KNOWN_METHODS:
        raise BadMessage(Fault.AMBIGUOUS, "a standard method in another case")


def parse_target(method: bytes, raw: bytes) -> RequestTarget:
    """Raises BadMessage for userinfo, fragments, other schemes, octets outside of ASCII, or a form the method cannot have."""
    if method == b"CONNECT":
        return RequestTarget(TargetForm.AUTHORITY, b"", raw, b"")
    if raw[0] == 0x2F:
        if PATH.match(raw) is None:
            raise BadMessage(Fault.GRAMMAR, "the request target holds a fragment or an octet outside of ASCII")
        return RequestTarget(TargetForm.ORIGIN, b"", b"", raw)
    if raw == b"*":
        if method != b"OPTIONS":
            raise BadMessage(Fault.GRAMMAR, "the asterisk form is for OPTIONS")
        return RequestTarget(TargetForm.ASTERISK, b"", b"", raw)
    match = ABSOLUTE_URI.match(raw)
    if match is None:
        raise BadMessage(Fault.GRAMMAR, "the request target has no known form")
    scheme, authority, path = match.groups()
    if not path.startswith(b"/"):
        # RFC 9112 section 3.2.4: OPTIONS without a path asks the server as a whole.
        path = b"*" if method == b"OPTIONS" and not path else b"/" + path
    return RequestTarget(TargetForm.ABSOLUTE, scheme.lower(), authority, path)


def parse_host(text: bytes, default_port: int | None, what: str) -> Target:
    """A Host field, an ``:authority`` or the authority of a target as a normalised Target."""
    try:
        return parse_authority(text.decode("ascii"), default_port)
    except ValueError as error:
        raise BadMessage(Fault.GRAMMAR, f"{what} is not a host with an optional port") from error


def check_same_host(target: Target, host: bytes, default_port: int) -> None:
    if parse_host(host, default_port, "Host") != target:
        raise BadMessage(Fault.AMBIGUOUS, "Host differs from the request target")
