"""What can be wrong with a message, without saying whose fault it is: one parser serves both directions."""

from collections.abc import Mapping
from enum import Enum, auto

from appliance.domain.reason import Reason


class Fault(Enum):
    GRAMMAR = auto()
    AMBIGUOUS = auto()
    HEAD_SIZE = auto()
    FIELD_COUNT = auto()
    URL_LENGTH = auto()
    EXTENSION = auto()
    TRAILERS = auto()
    INCOMPLETE = auto()
    FLOOD = auto()


CLIENT_REASONS: Mapping[Fault, Reason] = {
    Fault.GRAMMAR: Reason.BAD_REQUEST,
    Fault.AMBIGUOUS: Reason.AMBIGUOUS_MESSAGE,
    Fault.HEAD_SIZE: Reason.HEADER_TOO_LARGE,
    Fault.FIELD_COUNT: Reason.TOO_MANY_HEADERS,
    Fault.URL_LENGTH: Reason.URL_TOO_LONG,
    Fault.EXTENSION: Reason.CHUNK_EXTENSION_TOO_LONG,
    Fault.TRAILERS: Reason.TRAILERS_TOO_LARGE,
    Fault.INCOMPLETE: Reason.CLIENT_CLOSED,
    Fault.FLOOD: Reason.HTTP2_FLOOD,
}

UPSTREAM_REASONS: Mapping[Fault, Reason] = {
    Fault.GRAMMAR: Reason.UPSTREAM_PROTOCOL,
    Fault.AMBIGUOUS: Reason.UPSTREAM_AMBIGUOUS,
    Fault.HEAD_SIZE: Reason.UPSTREAM_HEADER_TOO_LARGE,
    Fault.FIELD_COUNT: Reason.UPSTREAM_HEADER_TOO_LARGE,
    Fault.URL_LENGTH: Reason.UPSTREAM_PROTOCOL,
    Fault.EXTENSION: Reason.UPSTREAM_PROTOCOL,
    Fault.TRAILERS: Reason.UPSTREAM_HEADER_TOO_LARGE,
    Fault.INCOMPLETE: Reason.UPSTREAM_CLOSED,
    Fault.FLOOD: Reason.UPSTREAM_PROTOCOL,
}


class BadMessage(Exception):
    """A message that is not passed on. Caught at the connection that received it, and turned into a ``Reason`` there."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail


def describe(reason: Reason, detail: str) -> str:
    """The message of a protocol error event, from which ``domain.reason.reason_of`` reads the reason back."""
    return f"{reason.word}: {detail}"
