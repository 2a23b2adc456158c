"""What can go wrong when a record is to be kept. All of these mean: do not pass the traffic."""

from appliance.domain.errors import ArcusError, InternalError
from appliance.domain.reason import Reason


class SpoolError(InternalError):
    """The record could not be written (EIO, a directory that cannot be made, a record that is no JSON)."""

    def __init__(self, detail: str, reason: Reason = Reason.INTERNAL_ERROR) -> None:
        super().__init__(reason, detail)


class SpoolFull(SpoolError):
    """There is no room: the directory's bound is reached, or the disk is full (ENOSPC, EDQUOT, EFBIG)."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, Reason.RESOURCE_EXHAUSTED)


class QueryError(ArcusError):
    """A query that cannot be answered; the message is for the person who wrote it. ``position`` counts characters."""

    def __init__(self, message: str, position: int = -1) -> None:
        super().__init__(message if position < 0 else f"{message} (at character {position + 1})")
        self.position = position
