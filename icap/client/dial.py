"""A connection to where a service is: TCP, TLS from the first byte, or a unix socket."""

import asyncio
import ssl
from collections.abc import Callable

from icap.client.address import ServiceAddress


async def dial[P: asyncio.Protocol](make: Callable[[], P], address: ServiceAddress, tls: ssl.SSLContext | None) -> P:
    """Connect. Raises OSError; the caller sets the time limit, which covers the TLS handshake."""
    loop = asyncio.get_running_loop()
    if address.socket is not None:
        _, protocol = await loop.create_unix_connection(make, str(address.socket))
        return protocol
    name = address.host if tls is not None else None
    _, protocol = await loop.create_connection(make, address.host, address.port, ssl=tls, server_hostname=name)
    return protocol
