"""What judges bodies in our ICAP server: the kinds of scanner."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from appliance.config.file_types import check_file_type
from appliance.config.values import FilePath, HostPort, Name, Node, Seconds, Size

type FileType = Annotated[str, AfterValidator(check_file_type)]
type Extension = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,16}$")]
type ContentType = Annotated[str, AfterValidator(lambda value: check_content_type(value))]


def check_content_type(value: str) -> str:
    """``image/png``, or ``image/*``."""
    if not re.fullmatch(r"[a-z0-9!#$&^_.+-]{1,64}/(\*|[a-z0-9!#$&^_.+-]{1,64})", value):
        raise ValueError(f"not a content type in lower case: {value!r} (write application/pdf or image/*)")
    return value


class ClamdEndpoint(Node):
    """One of several clamds."""

    socket: FilePath | None = None
    """Path of its local socket."""
    tcp: HostPort | None = None
    """host:port, instead of a socket."""

    @model_validator(mode="after")
    def _one(self) -> "ClamdEndpoint":
        if (self.socket is None) == (self.tcp is None):
            raise ValueError("give socket or tcp")
        return self


class ClamdScanner(Node):
    """clamd, over its socket. ``managed``: start our own clamd when nothing answers there."""

    type: Literal["clamd"]
    """The kind of scanner."""
    name: Name = "clamd"
    """What records call it."""
    socket: FilePath | None = None
    """Path of clamd's local socket."""
    tcp: HostPort | None = None
    """host:port, instead of a socket."""
    endpoints: list[ClamdEndpoint] = []
    """Several clamds, instead of one: asked in turn, the idle before the busy, and others where one fails. A body of more than
    64 KiB cannot be sent twice: where its clamd fails in the middle, the scan is an error."""
    managed: bool = False
    """Start a clamd of our own, under ``state_dir``, when nothing answers."""
    timeout: Seconds = 30.0
    """One scan, from the first byte sent to the verdict."""
    concurrency: int = Field(8, ge=1)
    """Scans at one time by one clamd; further ones wait."""
    max_size: Size = 25 * 1024 * 1024
    """Bodies above are an error for the client's policy to decide, never clean. At most clamd's StreamMaxLength: no command
    of clamd tells it, so at the start it is found out by announcing lengths, and a lower one is used and logged."""
    encrypted: Literal["block", "pass"] = "block"
    """What clamd reports as encrypted, and so could not look into (it does where its AlertEncrypted is on, as in our own):
    refuse it, or pass it and record that it was not scanned."""


class HashScanner(Node):
    """Lists of SHA-256 digests: a body that is listed is a find, whatever its size. Each ICAP process keeps the list in memory,
    36 bytes an entry beside the names. A changed file is read again within 2 s; with a wrong line, the list before stays."""

    type: Literal["hashes"]
    """The kind of scanner."""
    name: Name = "hashes"
    """What records call it."""
    files: list[FilePath] = Field(min_length=1)
    """Lines of ``DIGEST`` or ``DIGEST NAME``; ``#`` begins a comment."""
    max_entries: int = Field(1_000_000, ge=1)
    """Of all files together; with more, the list before stays."""


class TypeRule(Node):
    """Every condition that is given must hold. The first rule whose conditions hold decides; without one, the body passes."""

    name: Name
    """What records and block pages call it."""
    action: Literal["allow", "block"]
    """What happens with the body."""
    types: list[FileType] = []
    """What the bytes are: classes (``executable``, ``archive``, ``macros``, ``script`` and others) or types (``pe``)."""
    content_types: list[ContentType] = []
    """What the message says: ``application/pdf``, ``image/*``."""
    extensions: list[Extension] = []
    """Of the name in the URL or in Content-Disposition, without the dot."""
    mismatch: bool = False
    """The message says something else than the bytes: an ``image/png`` that is a program."""

    @model_validator(mode="after")
    def _conditions(self) -> "TypeRule":
        if self.action == "block" and not (self.types or self.content_types or self.extensions or self.mismatch):
            raise ValueError("a rule without conditions would block every body")
        return self


class TypeScanner(Node):
    """Rules by true type: by the first bytes of a body, and for ZIP and OLE by the names inside."""

    type: Literal["types"]
    """The kind of scanner."""
    name: Name = "types"
    """What records call it."""
    rules: list[TypeRule] = Field(min_length=1)
    """In order."""


class YaraScanner(Node):
    """YARA-X rules; needs the extra ``yara``. A changed rule is compiled within 2 s; while one does not compile, those before
    stay. A body is held until it is whole, above 1 MiB in a temporary file."""

    type: Literal["yara"]
    """The kind of scanner."""
    name: Name = "yara"
    """What records call it."""
    directory: FilePath
    """Every ``*.yar`` and ``*.yara`` in it and below."""
    timeout: Seconds = 10.0
    """One scan; counted in whole seconds."""
    concurrency: int = Field(2, ge=1)
    """Scans at one time, each in a thread."""
    max_size: Size = 25 * 1024 * 1024
    """Bodies above are an error for the client's policy to decide, never clean."""


Scanner = Annotated[ClamdScanner | HashScanner | TypeScanner | YaraScanner, Field(discriminator="type")]
