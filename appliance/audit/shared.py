"""The JSON of what all tasks of a connection share: its TLS, which is about half of a record and does not change.

Writing it again for each request of a connection took 16 of 60 microseconds.
"""

from collections.abc import Callable

from appliance.audit.record import Event, shared_parts
from appliance.domain.notes import ConnNotes, TlsNotes

CONNECTIONS = 1024


class SharedText:
    """Keeps the texts of the last ``capacity`` connections."""

    def __init__(self, encode: Callable[[Event], str], capacity: int = CONNECTIONS) -> None:
        self._encode = encode
        self._capacity = capacity
        self._kept: dict[str, tuple[object, str]] = {}

    def text(self, conn: ConnNotes) -> str:
        """The members of an object, without its braces; empty when there is no TLS."""
        # compared by identity first, member by member: cheap when nothing has changed, and right when something has
        facts = (conn.hello, _facts(conn.client_tls), _facts(conn.server_tls))
        kept = self._kept.get(conn.conn_id)
        if kept is not None and kept[0] == facts:
            return kept[1]
        text = self._encode(shared_parts(conn))[1:-1]
        if len(self._kept) >= self._capacity:
            del self._kept[next(iter(self._kept))]
        self._kept[conn.conn_id] = (facts, text)
        return text


def _facts(tls: TlsNotes | None) -> object:
    if tls is None:
        return None
    state = (tls.version, tls.cipher, tls.alpn, tls.sni, tls.resumed, tls.verify, tls.error)
    rest = (tls.alert_sent, tls.ca_sha256, tls.client_trusts, tls.asked_certificate, tls.presented_sha256)
    return (*state, *rest, tls.certificate, tls.chain_sha256)
