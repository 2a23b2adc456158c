"""Bodies that are scanned unit by unit."""

from pydantic import Field

from appliance.config.values import Node, Seconds, Size


class StreamUnits(Node):
    """Events, parts, lines and messages that are scanned one by one: ``stream_units`` of an auditor."""

    overlap: Size = Field(16 * 1024, le=1024 * 1024)
    """Bytes of the units before it that are shown again with each unit, so that what is cut into several is found. 0: each is
    judged by itself, which costs a third."""
    pause: Seconds | None = None
    """Absent: a body of no known length is held until its end. Otherwise, when nothing has come of it for so long, what has
    come is scanned and goes on, and so after each pause; only what is within ``large_bodies.above`` until then."""
