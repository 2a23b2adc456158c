"""What was delivered, judged again: ``retro``."""

from pydantic import Field

from appliance.config.values import FilePath, Node, Seconds


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
    max_entries: int = Field(1_000_000, ge=1)
    """Of all files in ``hashes`` together; with more, the list before stays. The admin process keeps 36 bytes an entry."""
