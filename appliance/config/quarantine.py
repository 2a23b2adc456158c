"""Infected bodies that are kept: ``quarantine``."""

from pydantic import Field

from appliance.config.values import Name, Node, Seconds, Size


class Quarantine(Node):
    """Infected bodies, encrypted under ``state_dir/quarantine``, for analysts who release or delete them with a reason. Off
    unless tenants are named: a body that a scanner calls infected can be somebody's letter as well as malware, and what is not
    kept cannot leak. The admin process deletes what is too old or too much, so it is needed."""

    tenants: list[Name] = []
    """Whose infected bodies are kept. Each has a folder and a key of its own."""
    max_size: Size = Field(32 * 1024 * 1024, ge=1)
    """Larger bodies are not kept; up to four of this size wait in each worker for the disk."""
    max_total: Size = Field(1024 * 1024 * 1024, ge=1)
    """Bytes on disk for each tenant; above it the oldest are deleted. It may be exceeded by one body, for some seconds."""
    max_items: int = Field(10_000, ge=1, le=100_000)
    """Bodies of each tenant; above it the oldest are deleted."""
    max_age: Seconds = Field(30 * 86_400.0, ge=60)
    """Older bodies are deleted, counted from when they were found first; also those of tenants that are not named any more."""
