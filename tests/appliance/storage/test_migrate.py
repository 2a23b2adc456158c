import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from appliance.storage.migrate import SchemaTooNew, steps
from appliance.storage.schema import metadata
from appliance.storage.sqlite import SqliteStore


def test_steps_are_numbered_without_gaps() -> None:
    assert list(steps()) == list(range(1, len(steps()) + 1))


def test_the_migrations_make_the_schema(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "migrated.db").close()
    migrated_engine = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    migrated = inspect(migrated_engine)
    declared_engine = create_engine("sqlite://")
    metadata.create_all(declared_engine)
    declared = inspect(declared_engine)
    assert set(migrated.get_table_names()) == set(declared.get_table_names())
    for table in declared.get_table_names():
        columns = [
            [(c["name"], str(c["type"]), c["nullable"]) for c in each.get_columns(table)] for each in (migrated, declared)
        ]
        assert columns[0] == columns[1]
        indexes = [
            {i["name"]: (i["column_names"], i["unique"]) for i in each.get_indexes(table)} for each in (migrated, declared)
        ]
        assert indexes[0] == indexes[1]
        assert migrated.get_unique_constraints(table) == declared.get_unique_constraints(table)
    migrated_engine.dispose()
    declared_engine.dispose()


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "a.db")
    first.close()
    second = SqliteStore(tmp_path / "a.db")
    assert second.version == first.version == max(steps())
    second.close()


def test_a_newer_database_is_not_touched(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "a.db").close()
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute("INSERT INTO schema_version VALUES (999, 0)")
    connection.commit()
    connection.close()
    with pytest.raises(SchemaTooNew, match="999"):
        SqliteStore(tmp_path / "a.db")


def test_two_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: SqliteStore(tmp_path / "a.db"), range(4)))
    connection = sqlite3.connect(tmp_path / "a.db")
    assert connection.execute("SELECT count(*) FROM schema_version").fetchone() == (max(steps()),)
    connection.close()
    for store in stores:
        store.close()
