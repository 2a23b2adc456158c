"""Identity fields of an ICAP request (draft-stecher-icap-subid-00)."""

import re
from base64 import b64encode
from functools import lru_cache
from typing import Final

from appliance.domain.target import parse_ip
from icap.client.message import Identity
from icap.protocol import Field

MAX_VALUE: Final = 512
_PLAIN: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")


@lru_cache(4096)  # the messages of a connection have the same
def identity_fields(identity: Identity) -> tuple[Field, ...]:
    """The fields for what is known. A value that could break a line, or is too long, is left out and never repaired:
    a tenant or user cut short might be another one."""
    candidates = (
        ("X-Client-IP", _address(identity.client_ip)),
        ("X-Server-IP", _address(identity.server_ip)),
        ("X-Authenticated-User", _user(identity.user)),
        ("X-Subscriber-ID", plain_value(identity.subscriber)),
        ("X-Tenant-ID", plain_value(identity.tenant)),
    )
    return tuple((name, value) for name, value in candidates if value)


def _address(text: str) -> str:
    if not text:
        return ""
    address = parse_ip(text)
    return str(address) if address is not None and "%" not in text else ""


def _user(name: str) -> str:
    """Section 3.4: base64 of a URI; ``Local`` is the scheme for users the proxy knows itself."""
    raw = f"Local://{name}".encode()
    if not name or len(raw) > MAX_VALUE or not name.isprintable():
        return ""
    return b64encode(raw).decode("ascii")


def plain_value(text: str) -> str:
    """The text when it can stand in a header line as it is, else nothing."""
    return text if len(text) <= MAX_VALUE and _PLAIN.fullmatch(text) else ""
