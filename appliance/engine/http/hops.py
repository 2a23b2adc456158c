"""Fields that belong to one connection only (RFC 9110 section 7.6.1): found in one pass, never passed on."""

from dataclasses import dataclass, field

from appliance.engine.http.faults import BadMessage, Fault
from appliance.engine.http.grammar import Field

CONNECTION_FIELDS = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"transfer-encoding", b"http2-settings")
)
"""Removed when a message arrives. What the next connection needs of them is written anew when it leaves."""

PROXY_ANSWER_FIELDS = frozenset((b"proxy-authenticate", b"proxy-authentication-info"))
"""An origin must not make a browser hand out proxy credentials."""

REGENERATED = CONNECTION_FIELDS | {b"content-length"}
REGENERATED_RESPONSE = REGENERATED | {b"trailer"}
REGENERATED_REQUEST = REGENERATED_RESPONSE | {b"proxy-authorization", b"expect", b"host"}

FORBIDDEN_TRAILERS = REGENERATED_REQUEST | PROXY_ANSWER_FIELDS | frozenset(
    (
        b"alt-svc", b"authorization", b"cache-control", b"content-encoding", b"content-range", b"content-type", b"cookie",
        b"location",
        b"max-forwards", b"range", b"set-cookie", b"trailer", b"vary", b"via", b"www-authenticate", b"age", b"date", b"expires",
        b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"retry-after", b"pragma",
        b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-tenant-id",
    )
)  # fmt: skip
"""RFC 9110 section 6.5.1: what controls framing, routing, authentication or processing must not come after the body."""

_WATCHED = CONNECTION_FIELDS | {b"host", b"content-length", b"expect"}
_NEVER_NAMED = frozenset((b"host", b"content-length", b"transfer-encoding"))
_EMPTY: list[bytes] = []


def check_name(lowered: bytes) -> None:
    """CGI and its heirs read ``_`` as ``-``: to them ``Transfer_Encoding`` is the framing field that it is not to us.

    Raises:
        BadMessage: the name is a framing or routing field's, spelt with an underscore.
    """
    if lowered.replace(b"_", b"-") in _NEVER_NAMED:
        raise BadMessage(Fault.AMBIGUOUS, "a framing field spelt with an underscore")


@dataclass(slots=True)
class SortedFields:
    """``kept`` is what may be passed on; ``seen`` holds the values of the fields that decide framing and routing."""

    kept: list[Field]
    seen: dict[bytes, list[bytes]] = field(default_factory=dict)
    options: frozenset[bytes] = frozenset()
    """The Connection options, in lower case."""

    def values(self, name: bytes) -> list[bytes]:
        return self.seen.get(name, _EMPTY)

    def only(self, name: bytes) -> bytes:
        """The value of a field that stands once, in lower case; empty when it is absent or repeated."""
        values = self.seen.get(name, _EMPTY)
        return values[0].lower() if len(values) == 1 else b""


def sort_fields(fields: list[Field], dropped: frozenset[bytes] = CONNECTION_FIELDS) -> SortedFields:
    """Separate the connection's fields, and those that Connection names, from the message's.

    Raises:
        BadMessage: Connection names a field that frames or routes the message: one reader would drop it, another use it.
    """
    kept: list[Field] = []
    seen: dict[bytes, list[bytes]] = {}
    for item in fields:
        name = item[0].lower()
        if name in _WATCHED:
            seen.setdefault(name, []).append(item[1])
        if b"_" in name:
            check_name(name)
        if name not in dropped:
            kept.append(item)
    options = tokens(seen.get(b"connection", _EMPTY))
    if options & _NEVER_NAMED:
        raise BadMessage(Fault.AMBIGUOUS, "Connection names a framing or routing field")
    if options:
        kept = [item for item in kept if item[0].lower() not in options]
    return SortedFields(kept, seen, options)


def tokens(values: list[bytes]) -> frozenset[bytes]:
    """The members of a comma-separated list, in lower case."""
    if not values:
        return frozenset()
    return frozenset(part.strip(b" \t").lower() for value in values for part in value.split(b",")) - {b""}


def clean_trailers(fields: list[Field]) -> tuple[Field, ...]:
    """The trailer fields that may be passed on."""
    return tuple(item for item in fields if item[0].lower() not in FORBIDDEN_TRAILERS)
