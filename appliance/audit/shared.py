"""The JSON of what all tasks of a connection share: its TLS, which is about half of a record and does not change.

Writing it again for each request took 16 of 60 microseconds. The next connection of the same client to the same host
usually has the same text as well.
"""

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter

from appliance.audit.record import Event, shared_parts
from appliance.domain.notes import ConnNotes, TlsNotes

TEXTS = 1024

_HELLO = attrgetter("sni", "alpn", "versions", "has_ech", "ja3", "ja4")
_TLS = attrgetter(*(field.name for field in fields(TlsNotes) if field.name not in ("warned", "begun", "done")))
"""All that is written of it, and what of the rest does not differ from one connection to the next."""


class SharedText:
    """Keeps the last ``capacity`` texts, by what they say."""

    def __init__(self, encode: Callable[[Event], str], capacity: int = TEXTS) -> None:
        self._encode = encode
        self._capacity = capacity
        self._kept: dict[object, str] = {}

    def text(self, conn: ConnNotes) -> str:
        """The members of an object, without its braces; empty when there is no TLS."""
        hello, client, server = conn.hello, conn.client_tls, conn.server_tls
        facts = (hello and _HELLO(hello), client and _TLS(client), conn.upstream, server and _TLS(server))
        text = self._kept.get(facts)
        if text is None:
            text = self._encode(shared_parts(conn))[1:-1]
            if len(self._kept) >= self._capacity:
                del self._kept[next(iter(self._kept))]
            self._kept[facts] = text
        return text
