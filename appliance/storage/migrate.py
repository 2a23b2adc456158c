"""Brings a database to this version's schema, step by step, each step with its number in one transaction."""

import importlib
import pkgutil
from collections.abc import Callable

from sqlalchemy import Connection, inspect, text

from appliance.domain.clock import Clock
from appliance.domain.errors import ArcusError
from appliance.storage import migrations
from appliance.storage.schema import schema_version

type Step = Callable[[Connection], None]


class SchemaTooNew(ArcusError):
    """The database was written by a newer version; going on could destroy what that one knows."""


def steps() -> dict[int, Step]:
    """Every migration by its number, ``m0001_...`` is 1. Raises ValueError when two have the same number."""
    found: dict[int, Step] = {}
    for module in pkgutil.iter_modules(migrations.__path__):
        number = int(module.name[1:].partition("_")[0])
        if number in found:
            raise ValueError(f"two migrations have the number {number}: {module.name} needs the next free one")
        found[number] = importlib.import_module(f"{migrations.__name__}.{module.name}").upgrade
    return dict(sorted(found.items()))


def version_of(connection: Connection) -> int:
    """The highest step that was taken; 0 for an empty database."""
    if not inspect(connection).has_table(schema_version.name):
        return 0
    return int(connection.execute(text("SELECT coalesce(max(version), 0) FROM schema_version")).scalar_one())


def migrate(connection: Connection, clock: Clock) -> int:
    """Take the missing steps. The caller holds the transaction, begun IMMEDIATE: two processes cannot both migrate.

    Raises:
        SchemaTooNew: the database has steps that this version does not know.
    """
    known = steps()
    current = version_of(connection)
    newest = max(known)
    if current > newest:
        raise SchemaTooNew(f"the database has schema version {current}, this version knows up to {newest}")
    schema_version.create(connection, checkfirst=True)
    for number, upgrade in known.items():
        if number > current:
            upgrade(connection)
            connection.execute(schema_version.insert().values(version=number, applied_at=clock.now()))
    return newest
