"""The JSON of what does not change from one task to the next: a connection's TLS, which is about half of a record, how its
client came, and what was decided.

Writing it again for each request took a third of the time for a record. The next connection of the same client to the same
host usually has the same texts as well.
"""

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter

from appliance.audit.record import Event, course_parts, tls_parts
from appliance.domain.notes import ConnNotes, TaskNotes, TlsNotes

TEXTS = 1024

_HELLO = attrgetter("sni", "alpn", "versions", "has_ech", "ja3", "ja4")
_TLS = attrgetter(*(field.name for field in fields(TlsNotes) if field.name not in ("warned", "begun", "done")))
"""All that is written of it, and what of the rest does not differ from one connection to the next."""
_CONN = attrgetter("tenant_method", "tenant_detail", "client.listen_ip", "client.listen_port", "protocol", "original_dst")
# an enum's own hash is a call into Python
_DECISION = attrgetter("action._value_", "level", "applied", "would")
_TLS_DECISION = attrgetter("action._value_", "rule", "text", "would", "staged")


class SharedText:
    """Keeps the last ``capacity`` texts of each kind, by what they say."""

    def __init__(self, encode: Callable[[Event], bytes], capacity: int = TEXTS) -> None:
        self._encode = encode
        self._capacity = capacity
        self._tls: dict[object, bytes] = {}
        self._courses: dict[object, bytes] = {}

    def json(self, notes: TaskNotes) -> bytes:
        """The members of an object, without its braces; empty when there are none."""
        course, tls = self._course(notes), self._of_tls(notes.conn)
        return b"%b,%b" % (course, tls) if course and tls else course or tls

    def _course(self, notes: TaskNotes) -> bytes:
        conn = notes.conn
        decision, tls = notes.decision or conn.tunnel_decision, conn.tls_decision
        facts = (
            _CONN(conn),
            conn.user and conn.user.group,
            conn.tunnel,
            decision and _DECISION(decision),
            tls and _TLS_DECISION(tls),
        )
        text = self._courses.get(facts)
        return text if text is not None else self._keep(self._courses, facts, course_parts(notes))

    def _of_tls(self, conn: ConnNotes) -> bytes:
        hello, client, server = conn.hello, conn.client_tls, conn.server_tls
        facts = (hello and _HELLO(hello), client and _TLS(client), conn.upstream, server and _TLS(server))
        text = self._tls.get(facts)
        return text if text is not None else self._keep(self._tls, facts, tls_parts(conn))

    def _keep(self, kept: dict[object, bytes], facts: object, parts: Event) -> bytes:
        if len(kept) >= self._capacity:
            del kept[next(iter(kept))]
        text = kept[facts] = self._encode(parts)[1:-1]
        return text
