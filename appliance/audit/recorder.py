"""The recorder: the last step of every task, exactly once."""

import json
from collections.abc import Callable, Iterable

from appliance.audit.errors import SpoolError
from appliance.audit.mask import Masker
from appliance.audit.record import task_parts
from appliance.audit.shared import SharedText
from appliance.audit.spool import Spool
from appliance.config.root import Audit
from appliance.domain.clock import Clock, SystemClock
from appliance.domain.notes import TaskNotes


def compact_encoder() -> Callable[[object], str]:
    """JSON in ASCII only: no character of a client's can be a line break to any reader. NaN is no JSON.

    ``JSONEncoder.encode`` makes a new scanner for each call; this one is kept. Without CPython's, it is the plain one.
    """
    encoder = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    quote = json.encoder.encode_basestring_ascii
    pieces = make(None, encoder.default, quote, None, ":", ",", False, False, False)
    return lambda value: "".join(pieces(value, 0))


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
            text = self._text(notes)
        except (TypeError, ValueError) as error:
            raise SpoolError(f"the record of task {notes.task_id} is no JSON: {error}") from error
        self._spool.write(text.encode("ascii"))
        notes.recorded = True

    def _text(self, notes: TaskNotes) -> str:
        text = self._encode(task_parts(notes, self._masker))
        shared = self._shared.text(notes.conn)
        return f"{text[:-1]},{shared}}}" if shared else text
