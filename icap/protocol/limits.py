"""Bounds on everything a peer can make us hold."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest accepted sizes in bytes, and counts. A message exactly at a limit is accepted."""

    start_line: int = 16 * 1024
    """Request line or status line."""
    header_line: int = 16 * 1024
    """One ICAP header line, or one line of a folded field."""
    header_bytes: int = 64 * 1024
    """The ICAP header section with its start line."""
    header_count: int = 100
    """Lines of the ICAP header section, folded lines counted."""
    section_bytes: int = 256 * 1024
    """One encapsulated HTTP header section."""
    chunk_line: int = 4 * 1024
    """One chunk-size line with its extensions."""
    extension_bytes: int = 64 * 1024
    """All chunk extensions of one body: they carry nothing and must not outweigh it."""
    trailer_bytes: int = 16 * 1024
    body_bytes: int = 1 << 40
    """One body after chunk decoding. The application holds bodies, not this core, so the default is generous."""
    blank_lines: int = 2
    """Empty lines tolerated before a start line (RFC 2616 section 4.1)."""
    pending_bytes: int = 1 << 20
    """Bytes kept while the application has not asked for the next message (pipelining)."""


DEFAULT_LIMITS = Limits()
