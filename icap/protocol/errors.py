"""Errors of the protocol core, drawn by whose fault it is."""


class IcapError(Exception):
    """Base of everything the core raises."""


class LocalProtocolError(IcapError):
    """Our own code asked for something the protocol forbids in this state."""


class RemoteProtocolError(IcapError):
    """The peer broke the protocol or a limit; the connection cannot be used any more.

    ``status`` is what a server answers with before it closes.
    """

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


class LimitExceeded(RemoteProtocolError):
    """The peer sent more than a limit allows. ``limit`` is the name of the field in ``Limits``."""

    def __init__(self, limit: str, allowed: int, status: int = 400) -> None:
        super().__init__(f"{limit} above {allowed}", status)
        self.limit = limit
        self.allowed = allowed


class TruncatedMessage(RemoteProtocolError):
    """The peer closed inside a message: nothing may be concluded from what was received."""
