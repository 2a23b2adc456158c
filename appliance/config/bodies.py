"""Bodies that are too large to be held in memory until their scan is over."""

from typing import Literal

from pydantic import Field

from appliance.config.patience import Patience
from appliance.config.values import Node, Seconds, Size


class HeldBodies(Node):
    """What the bodies under way may take, per worker: ``held_bodies``. Above both, ``oversize`` decides. Where there are
    several tenants, one may take up to three times what it leaves free for the others."""

    memory: Size = 64 * 1024 * 1024
    """All bodies together, in memory. What does not fit goes to disk at once."""
    disk: Size = 4 * 1024 * 1024 * 1024
    """All bodies together, in files without a name under ``state_dir``."""


class Trickle(Node):
    """Bytes of a response that its client gets before the verdict, so that it does not give up waiting.

    What trickled is with the client, whatever the verdict: a short virus in front of a long body may be among it. A body
    that turns out infected ends with a reset of the connection.
    """

    after: Seconds = 1.0
    """Until the first bytes."""
    rate: Size = Field(1024, ge=1, le=1024 * 1024)
    """Bytes per second."""
    withhold: Size = 64 * 1024
    """The last bytes that have come always stay back."""


class LargeBodies(Node):
    """Bodies that are scanned while they arrive: ``large_bodies`` of an auditor."""

    above: Size = 256 * 1024
    """Smaller ones are held in memory and scanned at once; larger ones go to the service as they come."""
    trickle: Trickle | None = None
    """Absent: a client gets nothing of a body before the verdict."""
    patience: Patience | None = None
    """A page with the progress for people who load a large file in a browser. Absent: they wait as all others do."""


class ContentCodings(Node):
    """Packed bodies: ``content_codings`` of an auditor. Scanners undo gzip; deflate, br and zstd, and one coding on top of
    another, are undone for them. What is delivered stays as it was."""

    narrow: bool = True
    """Servers are not told that clients take what would have to be undone here, which saves the work."""
    gzip: Literal["packed", "unpacked"] = "packed"
    """How the service gets a body whose one coding is gzip: as it was transferred, with its Content-Encoding, or unpacked as
    all others, for services that do not unpack it themselves."""
    max_size: Size = 256 * 1024 * 1024
    """Bytes that a body may have when it is unpacked."""
    max_ratio: int = Field(200, ge=1)
    """How many times its size a body may have when it is unpacked; up to 1 MB it does not count."""
    max_depth: int = Field(2, ge=1, le=5)
    """Codings on top of each other."""
    undecodable: Literal["block", "bypass"] = "block"
    """What is not what it says, has a coding that nobody knows, or breaks these limits: blocked, or passed without a scan and
    recorded as such."""
