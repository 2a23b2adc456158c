"""SOCKS5 server side (RFC 1928, RFC 1929), on a stream that can peek."""

import ipaddress
from collections.abc import Awaitable, Callable

from appliance.domain.errors import ClientError
from appliance.domain.reason import Reason
from appliance.domain.target import Target, normalise_host
from appliance.engine.stream import ClientStream

VERSION = 5
NO_AUTH, USER_PASSWORD, NONE_ACCEPTABLE = 0, 2, 0xFF
CONNECT = 1
SUCCEEDED, GENERAL_FAILURE, NOT_ALLOWED, COMMAND_UNSUPPORTED, ADDRESS_UNSUPPORTED = 0, 1, 2, 7, 8

type Verify = Callable[[str, str], Awaitable[bool]]


def reply(code: int) -> bytes:
    """A reply with an unspecified bound address: what we bind is nobody's business."""
    return bytes([VERSION, code, 0, 1]) + bytes(6)


async def negotiate(stream: ClientStream, verify: Verify | None, optional: bool = False) -> Target:
    """Read greeting, authentication and request; the success reply is left to the caller.

    ``verify``: checks user and password; None means no authentication. ``optional`` admits clients that offer only "no auth".

    Raises:
        ClientError: ``bad_socks``, ``auth_required``, ``auth_failed`` or ``socks_command_unsupported``; the client has
            been answered.
        asyncio.IncompleteReadError: the client closed the connection.
    """
    methods = await _greeting(stream)
    if verify is not None and (USER_PASSWORD in methods or not optional):
        await _authenticate(stream, methods, verify)
    else:
        _choose(stream, methods, NO_AUTH)
    return await _request(stream)


async def _greeting(stream: ClientStream) -> bytes:
    version, count = await stream.reader.readexactly(2)
    if version != VERSION:
        raise ClientError(Reason.BAD_SOCKS, f"version {version}")
    return await stream.reader.readexactly(count)


def _choose(stream: ClientStream, methods: bytes, method: int) -> None:
    if method not in methods:
        stream.writer.write(bytes([VERSION, NONE_ACCEPTABLE]))
        reason = Reason.AUTH_REQUIRED if method == USER_PASSWORD else Reason.BAD_SOCKS
        raise ClientError(reason, f"client offers methods {methods.hex()}")
    stream.writer.write(bytes([VERSION, method]))


async def _authenticate(stream: ClientStream, methods: bytes, verify: Verify) -> None:
    _choose(stream, methods, USER_PASSWORD)
    version = (await stream.reader.readexactly(1))[0]
    user = await _counted(stream)
    password = await _counted(stream)
    if version != 1:
        raise ClientError(Reason.BAD_SOCKS, f"authentication version {version}")
    try:
        good = await verify(user.decode(), password.decode())
    except UnicodeDecodeError:
        good = False
    stream.writer.write(bytes([1, 0 if good else 1]))
    if not good:
        raise ClientError(Reason.AUTH_FAILED, "user and password refused")


async def _counted(stream: ClientStream) -> bytes:
    length = (await stream.reader.readexactly(1))[0]
    return await stream.reader.readexactly(length)


async def _request(stream: ClientStream) -> Target:
    version, command, _, kind = await stream.reader.readexactly(4)
    if version != VERSION:
        raise ClientError(Reason.BAD_SOCKS, f"version {version}")
    try:
        host = await _address(stream, kind)
        port = int.from_bytes(await stream.reader.readexactly(2))
        if not port:
            raise ValueError("port 0")
    except ValueError as error:
        stream.writer.write(reply(ADDRESS_UNSUPPORTED))
        raise ClientError(Reason.BAD_SOCKS, str(error)) from error
    if command != CONNECT:
        stream.writer.write(reply(COMMAND_UNSUPPORTED))
        raise ClientError(Reason.SOCKS_COMMAND, f"command {command}")
    return Target(host, port)


async def _address(stream: ClientStream, kind: int) -> str:
    if kind == 1:
        return normalise_host(str(ipaddress.IPv4Address(await stream.reader.readexactly(4))))
    if kind == 4:
        return normalise_host(str(ipaddress.IPv6Address(await stream.reader.readexactly(16))))
    if kind == 3:
        return normalise_host((await _counted(stream)).decode("ascii"))
    raise ValueError(f"address type {kind}")
