"""HTTP CONNECT as a client (RFC 9110 section 9.3.6), with a reader that takes no more than it must."""

import asyncio
import base64
import re
from typing import Final

from appliance.config.escaper import ProxyAuth
from appliance.domain.errors import UpstreamError
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.egress.opener import Stream

HEAD_LIMIT: Final = 16 * 1024
"""Bytes of the parent's answer, all interim answers included."""
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?")
_FIELD_LINE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")


def basic_credentials(auth: ProxyAuth | None) -> str | None:
    """The value of Proxy-Authorization (RFC 7617), or None. Raises ValueError for a colon in the user name."""
    if auth is None:
        return None
    if ":" in auth.username:
        raise ValueError("a user name with a colon cannot be sent (RFC 7617 section 2)")
    pair = f"{auth.username}:{auth.password.get_secret_value()}"
    return "Basic " + base64.b64encode(pair.encode()).decode("ascii")


def connect_request(target: Target, authorization: str | None) -> bytes:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if authorization:
        lines.append(f"Proxy-Authorization: {authorization}")
    return "\r\n".join([*lines, "\r\n"]).encode("ascii")


def parse_status(head: bytes) -> int:
    """The status of an answer's header block, which ends in an empty line.

    Raises:
        ValueError: not HTTP/1 by the letter: bare CR or LF, folded lines, space before a colon, control characters.
    """
    status_line, *fields, _, _ = head.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(status_line)
    if not match or not all(_FIELD_LINE.fullmatch(field) for field in fields):
        raise ValueError("malformed answer")
    return int(match[1])


async def request_tunnel(stream: Stream, parent: str, target: Target, authorization: str | None, timeout: float) -> None:
    """Ask for a tunnel and read the answer, within ``timeout`` seconds; on failure the stream is closed.

    What the parent sends after a 2xx header belongs to the tunnel and stays in the reader; a Content-Length or
    Transfer-Encoding in it means nothing (RFC 9110 section 9.3.6).

    Raises:
        UpstreamError: UPSTREAM_AUTH_FAILED for 407, UPSTREAM_PROXY_REFUSED for any other refusal, UPSTREAM_TIMEOUT,
            UPSTREAM_CLOSED, UPSTREAM_HEADER_TOO_LARGE, UPSTREAM_PROTOCOL.
    """
    reader, writer = stream
    try:
        writer.write(connect_request(target, authorization))
        async with asyncio.timeout(timeout):
            status = await _final_status(reader)
        _judge(status, parent, authorization)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        writer.transport.abort()
        raise _tunnel_error(error, parent, timeout) from error
    except BaseException:
        writer.transport.abort()
        raise


async def _final_status(reader: asyncio.StreamReader) -> int:
    left = HEAD_LIMIT
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        left -= len(head)
        if left < 0:
            raise asyncio.LimitOverrunError("header too large", HEAD_LIMIT)
        status = parse_status(head)
        if status >= 200:
            return status
        if status == 101:  # we asked for no upgrade
            raise ValueError("101 without an Upgrade")


def _judge(status: int, parent: str, authorization: str | None) -> None:
    if 200 <= status < 300:
        return
    if status == 407:
        sent = "to our credentials" if authorization else "and no credentials are configured"
        raise UpstreamError(Reason.UPSTREAM_AUTH_FAILED, f"{parent} answered 407 {sent}")
    raise UpstreamError(Reason.UPSTREAM_PROXY_REFUSED, f"{parent} answered {status}")


def _tunnel_error(error: Exception, parent: str, timeout: float) -> UpstreamError:
    match error:
        case TimeoutError():
            return UpstreamError(Reason.UPSTREAM_TIMEOUT, f"{parent}: no answer to CONNECT in {timeout:.3g} s")
        case asyncio.LimitOverrunError():
            return UpstreamError(Reason.UPSTREAM_HEADER_TOO_LARGE, f"{parent}: header above {HEAD_LIMIT} bytes")
        case ValueError():
            return UpstreamError(Reason.UPSTREAM_PROTOCOL, f"{parent}: {error}")
        case _:
            return UpstreamError(Reason.UPSTREAM_CLOSED, f"{parent} closed instead of answering CONNECT")
