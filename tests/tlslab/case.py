"""One row of the table: a server, what a client has to do with it, and the word for what is wrong with it."""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from tests.certs.forge_origin import Pair, World
from tests.tlslab.revocation import Answers
from tests.tlslab.scripted import Script


class Expect(Enum):
    MUST_PASS = "must pass"
    MUST_REFUSE = "must refuse"
    SHOULD_REFUSE = "should refuse"
    """Clients differ; a gateway refuses it as far as it is configured to."""


@dataclass(frozen=True)
class Plain:
    """A server of OpenSSL's, without scruples about keys and signatures."""

    leaf: Pair
    chain: Sequence[Pair] = ()
    staple: bytes = b""
    tls12: bool = False


type Service = Plain | Script


@dataclass(frozen=True)
class Lab:
    """What servers are made of. ``old`` and ``future`` are trusted roots whose time is over, or has not come."""

    world: World
    old: Pair
    future: Pair
    web: str
    """The URL of the responder, without a path."""
    answers: Answers
    """What the responder knows, by the first part of the path."""


@dataclass(frozen=True)
class LabCase:
    """``cause`` is the reason word (``ok``: nothing is wrong), ``host`` what the client asks for."""

    group: str
    name: str
    expect: Expect
    cause: str
    serve: Callable[[Lab], Service]
    host: str = "origin.test"

    def __str__(self) -> str:
        return f"{self.group}: {self.name}"

    @property
    def ascii(self) -> str:
        """The host as it stands in a handshake and in records."""
        return self.host if ":" in self.host else self.host.encode("idna").decode()

    @property
    def address(self) -> str:
        """Where it is served: hosts that are addresses are their own."""
        try:
            return str(ipaddress.ip_address(self.host))
        except ValueError:
            return "127.0.0.1"
