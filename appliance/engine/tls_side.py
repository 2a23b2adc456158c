"""One TLS connection of ours, over memory: octets of the wire on one side, plaintext on the other."""

from contextlib import suppress

from mitmproxy.connection import Connection
from OpenSSL import SSL

from appliance.domain.notes import ConnNotes, TlsNotes
from appliance.domain.tls_failure import ALERTS, alert_in, plain_error

RECORD = 16_384
"""The most that one ``SSL_read`` returns: the plaintext of one record (RFC 8446 section 5.1)."""

_PLAIN = frozenset(
    {
        "tlsv1 alert unknown ca",
        "sslv3 alert bad certificate",
        "ssl/tls alert bad certificate",
        "tlsv1 alert protocol version",
    }
)
"""What OpenSSL says about alerts that have a text of their own here; everything else is told whole."""
_NO_TLS = frozenset({"wrong version number", "packet length too long", "record layer failure"})

_lib, _ffi = vars(SSL)["_lib"], vars(SSL)["_ffi"]
_unused = _ffi.new("char **")


class TlsSide:
    """``conn`` is mitmproxy's connection, ``tls`` OpenSSL's; ``notes`` belong to the client's connection."""

    __slots__ = (
        "_begun", "_from_tls", "_missing", "_to_tls", "conn", "ended", "notes", "over", "tls", "towards_client",
    )  # fmt: skip

    def __init__(self, conn: Connection, tls: SSL.Connection, notes: ConnNotes, *, towards_client: bool) -> None:
        self.conn, self.tls, self.notes, self.towards_client = conn, tls, notes, towards_client
        self._to_tls, self._from_tls = vars(tls)["_into_ssl"], vars(tls)["_from_ssl"]
        self.ended = False
        """The peer will say nothing more."""
        self.over = False
        """An alert has ended the session, or what came was none of it."""
        self._missing = 0
        """Octets to the end of the record that a server has begun."""
        self._begun = b""
        """Of its header, while that is not whole."""

    def shake(self, data: bytes) -> tuple[bool, str]:
        """Go on with the handshake. Whether it is done, and why it has failed; what is to be sent is ``outgoing``."""
        if data:
            self.tls.bio_write(data)
            self._follow(data)
        try:
            self.tls.do_handshake()
        except SSL.WantReadError:
            return False, ""
        except SSL.Error as error:
            return False, failure_text(error, self.tls, data)
        return True, ""

    def decrypt(self, data: bytes) -> bytes:
        """The plaintext. An end is told by ``ended``; an alert, and what cannot be decrypted, by ``over``. Alerts are noted."""
        tls = self.tls
        if data:
            tls.bio_write(data)
            self._follow(data)
        pieces: list[bytes] = []
        try:
            while tls.pending() or _waiting(self._to_tls):
                pieces.append(tls.recv(RECORD))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.ended = True
        except SSL.Error as error:
            note_alert(self._notes, str(error))
            self.over = True  # OpenSSL has given it up: to write would be an error from now on
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def encrypt(self, data: bytes) -> bytes:
        """What goes on the wire for it; nothing once the session is over."""
        if self.over:
            return b""
        with suppress(SSL.ZeroReturnError, SSL.SysCallError):  # the peer has ended, and takes nothing more
            self.tls.sendall(data)
        return self.outgoing()

    @property
    def quiet(self) -> bool:
        """Nothing is under way: neither side has ended, and no octet waits in either direction."""
        waiting = _waiting(self._to_tls) or _waiting(self._from_tls) or self.tls.pending() or self._missing or self._begun
        return not (self.ended or self.over or waiting)

    def _follow(self, data: bytes) -> None:
        """Where a server stands within its records (RFC 8446 section 5.1). OpenSSL takes half a record in and is silent."""
        if self.towards_client:
            return
        data = self._begun + data
        at, size = self._missing, len(data)
        while at + 5 <= size:
            at += 5 + (data[at + 3] << 8 | data[at + 4])
        self._missing, self._begun = max(at - size, 0), data[at:]

    def outgoing(self) -> bytes:
        """Everything that OpenSSL has for the wire."""
        size = _waiting(self._from_tls)
        return self.tls.bio_read(size) if size else b""

    def goodbye(self) -> bytes:
        """close_notify for a client: without it an end cannot be told from a cut (RFC 8446 section 6.1), and OpenSSL 3 reports
        an error. Servers are not told: nothing waits for them."""
        if not self.towards_client:
            return b""
        try:
            self.tls.shutdown()
        except SSL.Error:
            return b""  # the peer is already gone, and so is the need to tell it
        return self.outgoing()

    @property
    def _notes(self) -> TlsNotes | None:
        return self.notes.client_tls if self.towards_client else self.notes.server_tls


def _waiting(bio: object) -> int:
    """Octets in one of a connection's two buffers. To ask for some where there are none costs an exception of OpenSSL's, and
    ten times as much."""
    return int(_lib.BIO_get_mem_data(bio, _unused))


def note_alert(notes: TlsNotes | None, text: str) -> bool:
    """Put an alert that was received after the handshake into the notes of its side. False, and nothing, for other errors."""
    error = plain_error(text)
    if not alert_in(error):
        return False
    if notes is not None and not notes.error:
        notes.error = error
    return True


def sent_alert(data: bytes) -> str:
    """The name of the alert at the end of what is sent; empty when it is encrypted, or there is none (RFC 8446 section 5.1)."""
    record = data[-7:]
    is_alert = len(record) == 7 and record[:2] == b"\x15\x03" and record[3:5] == b"\0\2"
    return ALERTS.get(record[6], f"alert_{record[6]}") if is_alert else ""


def failure_text(error: SSL.Error, tls: SSL.Connection, data: bytes) -> str:
    """Why a handshake has failed, in the words of mitmproxy's layers, which addons read."""
    queue = error.args[0] if error.args else None
    last = queue[-1] if isinstance(queue, list) and queue else ("", "", "")
    if last[0] == "SSL routines":
        if last[2] == "certificate verify failed":
            code = _lib.SSL_get_verify_result(vars(tls)["_ssl"])
            return f"Certificate verify failed: {_ffi.string(_lib.X509_verify_cert_error_string(code)).decode()}"
        if last[2] in _PLAIN:
            return str(last[2])
        if last[2] in _NO_TLS and data[:4].isascii():
            return "The remote server does not speak TLS."
    return f"OpenSSL {error!r}"
