"""Ticket keys put into OpenSSL's contexts.

OpenSSL has a call for it (SSL_CTX_set_tlsext_ticket_keys), which copies 80 octets into the context. The OpenSSL that we
run on is linked into cryptography's binding, which neither offers that call nor lets a symbol out. So the octets are
copied here. Where they belong is not assumed but proved, once in each process: a context makes a ticket, whose first
octets are found in the context; behind them stands a pointer to the keys; and only if the ticket's own HMAC verifies under
the key found there, and one of another context's under keys that were put there, is anything ever written. Memory
that may not exist is read through the kernel, which answers with an error where a pointer would crash.
"""

import ctypes
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from OpenSSL import SSL

from certs.ticket_keys import NAME, TicketKey

_lib, _ffi = vars(SSL)["_lib"], vars(SSL)["_ffi"]

SEARCHED: Final = 4096
"""Octets of a context that are looked through; it has some 1,300."""
_KEY, _MAC, _POINTER = 32, 32, 8
_TICKET_TAG = 0xAA
"""``ticket [10] EXPLICIT OCTET STRING`` in the form of a session that OpenSSL writes (d2i_SSL_SESSION(3))."""

type Read = Callable[[int, int], bytes]


class TicketMemoryError(Exception):
    """The keys were not found where this OpenSSL should have them. Workers then make tickets that they alone accept."""


@dataclass(frozen=True, slots=True)
class TicketMemory:
    """``offset``: of the key's name from the start of a context; a pointer to the two keys follows it."""

    offset: int

    def write(self, context: SSL.Context, key: TicketKey) -> None:
        """From now on the context makes and accepts tickets by this key alone."""
        place = _address(context) + self.offset
        _ffi.memmove(_ffi.cast("void *", place), key.name, NAME)
        keys = _ffi.cast("uintptr_t *", place + NAME)[0]
        _ffi.memmove(_ffi.cast("void *", keys), key.hmac_key + key.aes_key, 2 * _KEY)


def locate(read: Read | None = None) -> TicketMemory:
    """Find, and prove, where contexts hold their keys. Raises TicketMemoryError."""
    read = read or _read
    first, second = _context(), _context()
    offsets = _proved(first, _ticket(first), read)
    if len(offsets) != 1 or offsets != _proved(second, _ticket(second), read):
        raise TicketMemoryError("the keys are not in one place behind their name")
    memory = TicketMemory(offsets[0])
    key = TicketKey(secrets.token_bytes(NAME), secrets.token_bytes(_KEY), secrets.token_bytes(_KEY))
    memory.write(second, key)
    ticket = _ticket(second)
    if ticket[:NAME] != key.name or not _made_by(ticket, key.hmac_key):
        raise TicketMemoryError("keys that were set are not used")
    return memory


def _proved(context: SSL.Context, ticket: bytes, read: Read) -> list[int]:
    """Every place with the name of the ticket's key and a pointer to that key. What lies behind the context in memory may
    hold the name as well: a copy of the ticket itself."""
    octets = read(_address(context), SEARCHED)
    places = [found.start() for found in re.finditer(re.escape(ticket[:NAME]), octets)]
    return [place for place in places if _leads_to_key(octets[place + NAME : place + NAME + _POINTER], ticket, read)]


def _leads_to_key(pointer: bytes, ticket: bytes, read: Read) -> bool:
    keys = read(int.from_bytes(pointer, "little"), 2 * _KEY) if len(pointer) == _POINTER else b""
    return len(keys) == 2 * _KEY and _made_by(ticket, keys[:_KEY])


def _made_by(ticket: bytes, hmac_key: bytes) -> bool:
    return hmac.compare_digest(hmac.digest(hmac_key, ticket[:-_MAC], hashlib.sha256), ticket[-_MAC:])


def _address(context: SSL.Context) -> int:
    return int(_ffi.cast("uintptr_t", vars(context)["_context"]))


class _Range(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _read(address: int, count: int) -> bytes:
    """Octets of our own memory, fewer (or none) where there are not so many."""
    call = getattr(ctypes.CDLL(None), "process_vm_readv", None)
    if call is None:
        return b""
    buffer = ctypes.create_string_buffer(count)
    here, there = _Range(ctypes.addressof(buffer), count), _Range(address, count)
    done = int(call(os.getpid(), ctypes.byref(here), 1, ctypes.byref(there), 1, 0))
    return buffer.raw[: max(0, done)]


# -- a handshake with ourselves ------------------------------------------------------------------------------------------


def _context() -> SSL.Context:
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([]), datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(builder.sign(key, SHA256()))
    context.use_privatekey(key)
    return context


def _ticket(context: SSL.Context) -> bytes:
    """A ticket as the client gets it: name, initialisation vector, encrypted session, HMAC."""
    server, client = SSL.Connection(context), SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    server.set_accept_state()
    client.set_connect_state()
    for _ in range(3):
        for side, other in ((client, server), (server, client)):
            _step(side.do_handshake)
            _step(lambda side=side, other=other: other.bio_write(side.bio_read(65536)))  # type: ignore[misc]
    _step(lambda: client.recv(1))
    ticket = _ticket_of(client)
    if len(ticket) <= NAME + _MAC:
        raise TicketMemoryError("no ticket was made")
    return ticket


def _step(step: Callable[[], object]) -> None:
    try:
        step()
    except SSL.WantReadError:
        pass  # the other side's turn
    except SSL.Error as error:
        raise TicketMemoryError(f"a handshake with ourselves failed: {error}") from error


def _ticket_of(client: SSL.Connection) -> bytes:
    session = client.get_session()
    if session is None:
        return b""
    size = _lib.i2d_SSL_SESSION(vars(session)["_session"], _ffi.NULL)
    buffer = _ffi.new("unsigned char[]", size)
    _lib.i2d_SSL_SESSION(vars(session)["_session"], _ffi.new("unsigned char **", buffer))
    return dict(_fields(_fields(_ffi.buffer(buffer, size)[:])[0][1], unwrap=_TICKET_TAG)).get(_TICKET_TAG, b"")


def _fields(data: bytes, unwrap: int = -1) -> list[tuple[int, bytes]]:
    """Tags and contents of DER, one level deep; the content of ``unwrap`` is the field inside it."""
    found, pos = [], 0
    while pos + 2 <= len(data):
        tag, size = data[pos], data[pos + 1]
        pos += 2
        if size & 0x80:
            more = size & 0x7F
            size = int.from_bytes(data[pos : pos + more])
            pos += more
        content = data[pos : pos + size]
        found.append((tag, _fields(content)[0][1] if tag == unwrap else content))
        pos += size
    return found
