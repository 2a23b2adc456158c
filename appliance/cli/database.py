"""The database of a configuration, for commands that read or change it beside a running appliance."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from appliance.cli.output import CliError

if TYPE_CHECKING:
    from appliance.config.root import AppConfig
    from appliance.storage.sqlite import SqliteStore


@contextmanager
def audit_store(config: "AppConfig", missing: CliError | None = None) -> "Iterator[SqliteStore]":
    """Open, and closed at the end. Raises ``missing``, or a CliError with the path, where ``arcus run`` has not made it yet."""
    from appliance.app.paths import StatePaths
    from appliance.storage.sqlite import SqliteStore

    path = config.audit.store.path or StatePaths(config.state_dir).audit_db
    if not path.exists():
        raise missing or CliError(f"there is no audit database yet: {path}", "`arcus run` makes it")
    store = SqliteStore(path)
    try:
        yield store
    finally:
        store.close()
