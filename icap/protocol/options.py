"""What an ICAP service says about itself in its answer to OPTIONS (RFC 3507 section 4.10.2)."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from icap.protocol.headers import Field, Headers

_DIGITS: Final = re.compile(r"[0-9]{1,9}")
MAX_ISTAG = 32


class Transfer(Enum):
    """What a service wants of a body, by the extension in the URL."""

    PREVIEW = "preview"
    COMPLETE = "complete"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """One service's features. Numbers that are no numbers count as absent: a feature we cannot read is not used."""

    methods: frozenset[str]
    istag: str = ""
    ttl: int | None = None
    """Seconds. None: the service states none, and the answer never expires by RFC 3507."""
    preview: int | None = None
    """None: no previews. 0 is a preview."""
    max_connections: int | None = None
    allow: frozenset[str] = frozenset()
    service: str = ""
    service_id: str = ""
    include: frozenset[str] = frozenset()
    """X-Include: the X- headers the service wants, in lower case."""
    transfer_preview: frozenset[str] = frozenset()
    transfer_ignore: frozenset[str] = frozenset()
    transfer_complete: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, headers: Headers) -> "ServiceOptions":
        return cls(
            methods=frozenset(token.upper() for token in headers.tokens("Methods")),
            istag=parse_istag(headers),
            ttl=_number(headers, "Options-TTL"),
            preview=_number(headers, "Preview"),
            max_connections=_number(headers, "Max-Connections"),
            allow=headers.tokens("Allow"),
            service=headers.first("Service") or "",
            service_id=headers.first("Service-ID") or "",
            include=headers.tokens("X-Include"),
            transfer_preview=headers.tokens("Transfer-Preview"),
            transfer_ignore=headers.tokens("Transfer-Ignore"),
            transfer_complete=headers.tokens("Transfer-Complete"),
        )

    def fields(self) -> tuple[Field, ...]:
        """The header fields that state this; OPTIONS itself is never a member of Methods."""
        listed = (
            ("Allow", self.allow),
            ("X-Include", self.include),
            ("Transfer-Preview", self.transfer_preview),
            ("Transfer-Ignore", self.transfer_ignore),
            ("Transfer-Complete", self.transfer_complete),
        )
        single = (
            ("ISTag", f'"{self.istag}"' if self.istag else None),
            ("Service", self.service or None),
            ("Service-ID", self.service_id or None),
            ("Options-TTL", self.ttl),
            ("Preview", self.preview),
            ("Max-Connections", self.max_connections),
        )
        methods = ("Methods", ", ".join(sorted(self.methods - {"OPTIONS"})))
        return (
            methods,
            *((name, str(value)) for name, value in single if value is not None),
            *((name, ", ".join(sorted(members))) for name, members in listed if members),
        )

    @property
    def by_extension(self) -> bool:
        """Whether it wants bodies of some extensions in another way than those of others."""
        return bool(self.transfer_ignore or self.transfer_complete or self.transfer_preview - {"*"})

    def transfer(self, path: str) -> Transfer:
        """How the service wants bodies with this path's extension; without any list every body may be previewed."""
        lists = (
            (Transfer.IGNORE, self.transfer_ignore),
            (Transfer.COMPLETE, self.transfer_complete),
            (Transfer.PREVIEW, self.transfer_preview),
        )
        if not any(members for _, members in lists):
            return Transfer.PREVIEW
        for wanted in (extension_of(path), "*"):
            for kind, members in lists:
                if wanted in members:
                    return kind
        return Transfer.COMPLETE


def parse_istag(headers: Headers) -> str:
    """The ISTag without its quotes; some services leave them out. Longer than 32 bytes is cut, never refused."""
    value = (headers.first("ISTag") or "").strip()
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return value[:MAX_ISTAG]


def extension_of(path: str) -> str:
    """What follows the last dot of the path's last segment, in lower case, the query not considered."""
    segment = path.partition("?")[0].partition("#")[0].rpartition("/")[2]
    return segment.rpartition(".")[2].lower() if "." in segment else ""


def _number(headers: Headers, name: str) -> int | None:
    text = headers.first(name) or ""
    return int(text) if _DIGITS.fullmatch(text) else None
