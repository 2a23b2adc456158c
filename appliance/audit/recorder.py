"""The recorder: the last step of every task, exactly once."""

import json
from collections.abc import Callable, Iterable

from pydantic_core import to_json

from appliance.audit.errors import SpoolError
from appliance.audit.mask import Masker
from appliance.audit.record import task_parts
from appliance.audit.shared import SharedText
from appliance.audit.spool import Spool
from appliance.config.root import Audit
from appliance.domain.clock import Clock, SystemClock
from appliance.domain.notes import TaskNotes


def compact_encoder() -> Callable[[object], bytes]:
    """JSON in ASCII only: no character of a client's can be a line break to any reader. NaN is no JSON.

    The quick encoder leaves characters as they are and writes NaN: where either may be, the standard library's does it again.
    """
    plain = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False)

    def encode(value: object) -> bytes:
        try:
            text = to_json(value)
        except ValueError:  # a lone surrogate, or what is no JSON to anyone
            text = b"NaN"
        if text.isascii() and b"NaN" not in text and b"Infinity" not in text:
            return text
        return plain.encode(value).encode("ascii")

    return encode


class Recorder:
    """Writes each task's event to the spool. Never waits for a sink."""

    def __init__(self, spool: Spool, mask_query: Iterable[str] | None = None, clock: Clock | None = None) -> None:
        self._spool = spool
        self._masker = Masker(Audit().mask_query if mask_query is None else mask_query)
        self._clock = clock or SystemClock()
        self._encode = compact_encoder()
        self._shared = SharedText(self._encode)

    @property
    def full(self) -> bool:
        """New tasks must be refused: their records might find no room."""
        return self._spool.full

    def record(self, notes: TaskNotes) -> None:
        """Write the event of ``notes``; a second call for the same task does nothing. Sets ``notes.ended`` if nobody has.

        Raises:
            SpoolFull: no room; the caller must not release the task.
            SpoolError: the record could not be written; likewise.
        """
        if notes.recorded:
            return
        if not notes.ended:
            notes.ended = self._clock.now()
        try:
            record = self._json(notes)
        except (TypeError, ValueError) as error:
            raise SpoolError(f"the record of task {notes.task_id} is no JSON: {error}") from error
        self._spool.write(record)
        notes.recorded = True

    def _json(self, notes: TaskNotes) -> bytes:
        record = self._encode(task_parts(notes, self._masker))
        shared = self._shared.json(notes)
        return b"%b,%b}" % (record[:-1], shared) if shared else record
