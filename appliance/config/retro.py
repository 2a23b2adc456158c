"""What was delivered, judged again: ``retro``."""

from pydantic import Field

from appliance.config.scanners import ContentType
from appliance.config.values import FilePath, Name, Node, Seconds, Size


class Samples(Node):
    """Sealed copies of bodies that were delivered, so that scanners can judge them again. Off unless tenants are named: what
    people fetched and sent is kept then. Encrypted under ``state_dir/samples`` as quarantined bodies are, each body once."""

    tenants: list[Name] = []
    """Whose bodies are kept. Each has a folder and a key of its own."""
    types: list[ContentType] = []
    """Only what the message calls one of these: ``application/*``, ``image/png``; empty: all."""
    share: float = Field(1.0, gt=0.0, le=1.0)
    """Of all bodies, chosen by their hash: the same body is always in or always out."""
    max_size: Size = Field(8 * 1024 * 1024, ge=1, le=64 * 1024 * 1024)
    """Larger bodies are not kept. Up to eight of this size wait in each worker for the disk."""
    max_total: Size = Field(1024 * 1024 * 1024, ge=1)
    """Bytes on disk for each tenant; above it the oldest are deleted. It may be exceeded by one body, for some seconds."""
    max_items: int = Field(10_000, ge=1, le=100_000)
    """Bodies of each tenant; above it the oldest are deleted."""
    max_age: Seconds = Field(30 * 86_400.0, ge=60)
    """Older ones are deleted, also those of tenants that are not named any more."""


class Retro(Node):
    """Retro-hunt: the admin process keeps, for each tenant, the SHA-256 of every scanned body that was delivered, and to whom.
    When signatures change, all of it is judged again, and what is found leads to an audit event that lists the flows."""

    enabled: bool = True
    """false: no ledger is kept and nothing is judged again."""
    max_age: Seconds = Field(90 * 86_400.0, ge=60)
    """What was delivered longer ago is forgotten."""
    max_bodies: int = Field(100_000, ge=1, le=10_000_000)
    """Bodies of each tenant; above it those that were not seen for longest are forgotten, with their flows."""
    max_flows: int = Field(500_000, ge=1, le=50_000_000)
    """Deliveries of each tenant; above it the oldest are forgotten."""
    hashes: list[FilePath] = []
    """Further lists of SHA-256 digests, in the format of the ``hashes`` scanner, that all ledgers are held against; nothing is
    blocked by them. The lists of our own ICAP server count by themselves, for the tenants that it scans for."""
    samples: Samples = Samples()
    """Bodies that are kept, to be judged again."""
    rate: float = Field(5.0, gt=0.0, le=1000.0)
    """Samples that are judged again in a second, at most."""
    again: Seconds = Field(86_400.0, ge=0)
    """A sample that was not judged for so long is judged again also where no change was told: not every scanner's ISTag changes
    with its signatures. 0: never."""
    watch: list[FilePath] = []
    """Files and folders whose change means that scanners have other signatures, where their ISTag does not tell: clamd tells of
    its main database, not of signatures of one's own beside it. Samples are judged again at once, and 5 s, 1 minute and
    11 minutes later, for a scanner may take that long to notice."""
    max_entries: int = Field(1_000_000, ge=1)
    """Of all files in ``hashes`` together; with more, the list before stays. The admin process keeps 36 bytes an entry."""
