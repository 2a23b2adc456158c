"""The `arcus` command: one file per command."""

from appliance.cli.root import main

__all__ = ["main"]
