"""Ticket keys in OpenSSL's contexts: found by proof, or not touched."""

import secrets
from collections.abc import Callable

import pytest
from OpenSSL import SSL

from certs import ticket_memory
from certs.ticket_keys import NAME, TicketKey
from certs.ticket_memory import SEARCHED, TicketMemoryError, locate

_read = ticket_memory._read


def key() -> TicketKey:
    return TicketKey(secrets.token_bytes(16), secrets.token_bytes(32), secrets.token_bytes(32))


def test_tls_12_a_context_makes_tickets_by_the_key_it_was_given() -> None:
    memory, given, context = locate(), key(), ticket_memory._context()
    memory.write(context, given)
    ticket = ticket_memory._ticket(context)
    assert ticket[:NAME] == given.name
    assert ticket_memory._made_by(ticket, given.hmac_key)
    assert not ticket_memory._made_by(ticket, given.aes_key)


def test_contexts_are_written_one_by_one() -> None:
    memory, contexts = locate(), [ticket_memory._context() for _ in range(3)]
    memory.write(contexts[1], key())
    names = [ticket_memory._ticket(context)[:NAME] for context in contexts]
    assert len(set(names)) == 3


def nothing(_address: int, _count: int) -> bytes:
    return b""


def zeros(_address: int, count: int) -> bytes:
    return bytes(count)


def short(address: int, count: int) -> bytes:
    return _read(address, count) if count == SEARCHED else _read(address, count)[:10]


def twice(address: int, count: int) -> bytes:
    return _read(address, count)[: count // 2] * 2 if count == SEARCHED else _read(address, count)


def swapped(address: int, count: int) -> bytes:
    octets = _read(address, count)
    return octets if count == SEARCHED else octets[32:] + octets[:32]


@pytest.mark.security
@pytest.mark.parametrize("read", [nothing, zeros, short, twice, swapped])
def test_tls_12_nothing_is_written_where_the_proof_fails(
    read: Callable[[int, int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticket_memory.TicketMemory, "write", lambda *_: pytest.fail("written without proof"))
    with pytest.raises(TicketMemoryError):
        locate(read)


def test_keys_that_are_not_used_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticket_memory.TicketMemory, "write", lambda *_: None)
    with pytest.raises(TicketMemoryError, match="not used"):
        locate()


def test_a_library_that_makes_no_tickets_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def without() -> SSL.Context:
        context = made()
        context.set_options(SSL.OP_NO_TICKET)
        return context

    made = ticket_memory._context
    monkeypatch.setattr(ticket_memory, "_context", without)
    with pytest.raises(TicketMemoryError):
        locate()


def test_memory_that_does_not_exist_is_read_as_nothing() -> None:
    assert _read(0, 8) == b""
    assert _read(2**63, 8) == b""
