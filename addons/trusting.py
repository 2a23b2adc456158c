"""Which clients trust our CA: those that have asked for something inside TLS that we answered."""

from collections import OrderedDict

from appliance.domain.clock import Clock
from appliance.domain.notes import ConnNotes, TaskNotes

REMEMBERED = 3600.0
"""Seconds."""
CAPACITY = 10_000

type _Client = tuple[str, str, str, str]


class Trusting:
    """A worker's memory: by tenant, address, fingerprint of the ClientHello, and CA, the least recently seen out first.

    A client that is known here and refuses another certificate of ours does not lack the CA: it is pinned. Only a name for
    the record hangs on it; exclusions are learned from the records of all workers.
    """

    def __init__(self, clock: Clock, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._seen: OrderedDict[_Client, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def task(self, notes: TaskNotes) -> None:
        """A task ended. With its first request a client shows that it believes the certificate."""
        conn = notes.conn
        if conn.client_tls is None or conn.requests != 1 or notes.kind == "connection" or conn.client_tls.error:
            return
        key = _client(conn)
        self._seen[key] = self._clock.monotonic()
        self._seen.move_to_end(key)
        if len(self._seen) > self._capacity:
            self._seen.popitem(last=False)

    def knows(self, conn: ConnNotes) -> bool:
        seen = self._seen.get(_client(conn))
        return seen is not None and self._clock.monotonic() - seen < REMEMBERED


def _client(conn: ConnNotes) -> _Client:
    ca = conn.client_tls.ca_sha256 if conn.client_tls else ""
    return conn.tenant or "", conn.client.ip, conn.hello.ja4 if conn.hello else "", ca
