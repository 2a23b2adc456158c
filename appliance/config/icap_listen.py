"""Further ways to our ICAP server."""

import re
from typing import Annotated

from pydantic import BeforeValidator

from appliance.config.client_tls import Version
from appliance.config.values import FilePath, Listen, Node

_MODE = re.compile(r"0?[0-7]{3}")


def parse_mode(value: object) -> object:
    """Permissions as ``chmod`` takes them, in quotes: YAML would read 0660 as a number, and not in every version the same."""
    if isinstance(value, str) and _MODE.fullmatch(value):
        return value
    raise ValueError(f'not a mode: {value!r} (write "0660", in quotes)')


Mode = Annotated[str, BeforeValidator(parse_mode)]


class IcapTlsListen(Node):
    """``icaps://``: TLS from the first byte, on an address of its own."""

    listen: Listen
    """Where it listens; squid's default port is 11344."""
    certificate: FilePath
    """A PEM file: the certificate, then its chain."""
    private_key: FilePath
    """Its key, as PEM without a passphrase."""
    client_ca: FilePath | None = None
    """A PEM file of CAs: only clients with a certificate from one of them may connect."""
    min_version: Version = "1.2"
    """The lowest version of TLS."""


class IcapUnixListen(Node):
    """A unix socket, ``icap+unix:///path/to/socket:/respmod`` for Arcus as a client."""

    path: FilePath
    """At most 107 bytes. A socket that nobody listens on any more is replaced."""
    mode: Mode = "0660"
    """Who may connect: ICAP has no other authentication."""
