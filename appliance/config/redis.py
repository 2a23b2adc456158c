"""The shared tier for forged leaves: ``redis``."""

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from appliance.config.values import FilePath, Name, Node, Seconds
from appliance.domain.target import Target, parse_authority

DEFAULT_PORT: Final = 6379
_NETWORK = re.compile(r"rediss?://([^/?#@\s]+)(?:/(\d{1,3}))?/?\Z")
_UNIX = re.compile(r"unix:///[^?#\s]+\Z")


def check_redis_url(value: str) -> str:
    """``redis://host:6379/0``, ``rediss://`` over TLS, or ``unix:///path``; nothing else, and no credentials."""
    if "@" in value:
        raise ValueError("credentials do not belong in the URL: use username and password_file")
    match = _NETWORK.fullmatch(value)
    if match is not None:
        parse_authority(match[1], DEFAULT_PORT)
    elif not _UNIX.fullmatch(value):
        raise ValueError(f"not a Redis URL: {value!r} (write redis://host:6379/0, rediss://host:6380/0 or unix:///path)")
    return value


RedisUrl = Annotated[str, AfterValidator(check_redis_url)]


class Redis(Node):
    """A Redis in which the leaves of all nodes are shared, and outlive a restart.

    Leaves are encrypted there with ``state_dir/leaf-cache.key``, which all nodes need; a CA's key is never in it. While it is
    away, each node goes on alone.
    """

    url: RedisUrl
    """``redis://host:6379/0``, ``rediss://host:6380/0`` over TLS, or ``unix:///path``."""
    username: Name | None = None
    """Of an ACL user; the default user when absent."""
    password_file: FilePath | None = None
    """A file, mode 0600, whose first line is the password."""
    ca_file: FilePath | None = None
    """Roots for ``rediss``; the system's when absent."""
    timeout: Seconds = Field(0.1, gt=0, le=5)
    """How long a new client may wait for one answer. After three failures nobody waits until Redis is back."""

    @property
    def address(self) -> Target | None:
        """Where it listens; None for a local socket."""
        match = _NETWORK.fullmatch(self.url)
        return parse_authority(match[1], DEFAULT_PORT) if match else None


def read_password(file: Path) -> str:
    """The first line. Raises OSError."""
    with file.open(encoding="utf-8", errors="replace") as stream:
        return stream.readline(1024).rstrip("\r\n")
