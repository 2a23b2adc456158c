"""The event store in one SQLite file.

WAL: readers never wait for the writer, nor the writer for them. One connection writes, behind a lock; readers have
their own, which cannot write at all (``query_only``). Values never stand in SQL text: callers pass a condition with
named parameters, and the column names in it come from a fixed table.
"""

import fcntl
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from appliance.domain.clock import Clock, SystemClock
from appliance.domain.errors import ArcusError
from appliance.storage.coverage import Tally
from appliance.storage.migrate import migrate
from appliance.storage.rows import Row, insert, ledger_key, to_row

BUSY_SECONDS = 5.0
QUERY_SECONDS = 10.0
RETENTION_BATCH = 1000
_PAGE = 8192
_VACUUM_PAGES = 2048
_PROGRESS_STEPS = 10_000
_SELECT = "SELECT seq, created_at, metadata FROM audit_logs"
_SINCE = text("SELECT tenant_id, target_host, user_id, created_at, metadata FROM audit_logs WHERE seq > :seq")
_NEWEST = text("SELECT coalesce(max(seq), 0) FROM audit_logs")

type Parameters = Mapping[str, str | int | float]


class StoreError(ArcusError, OSError):
    """The database cannot do it now: disk full, locked, damaged, or a query that takes too long."""


class SqliteStore:
    """Opens ``path``, makes it if need be (0600), and brings its schema up to date.

    Raises:
        StoreError: it cannot be opened or migrated.
        SchemaTooNew: a newer version wrote it.
    """

    def __init__(self, path: Path, *, clock: Clock | None = None, query_seconds: float = QUERY_SECONDS) -> None:
        self._clock = clock or SystemClock()
        self._query_seconds = query_seconds
        self._write_lock = threading.Lock()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._writer = _engine(path, pool_size=1, setup=_set_up_writer)
        self._readers = _engine(path, pool_size=4, setup=_set_up_reader)
        try:
            with _alone(path), self.writing() as connection:
                self.version = migrate(connection, self._clock)
        except BaseException:
            self.close()
            raise

    def append(self, events: Iterable[tuple[Mapping[str, Any], str]]) -> int:
        """Store events, what ``to_row`` reads of each with its whole JSON text, in one transaction; known ids are ignored.
        Returns how many are new.

        The ledger of what was inspected takes those in the same transaction.

        Raises:
            StoreError: none of them was stored.
        """
        rows: list[Row] = []
        tally = Tally()
        for item, text_ in events:
            row = to_row(item, text_)
            rows.append(row)
            tally.add(ledger_key(row), item.get("coverage"))
        if not rows:
            return 0
        with self.writing() as connection:
            newest = int(connection.execute(_NEWEST).scalar_one())
            new = insert(connection, rows)
            (tally if new == len(rows) else _stored_since(connection, newest)).fold(connection)
            return new

    def select(self, where: str, parameters: Parameters, order: str, limit: int) -> list[tuple[int, float, dict[str, Any]]]:
        """Events under a condition: ``(seq, created_at, event)``. ``where`` and ``order`` are the compiler's text, no person's.

        Raises:
            StoreError: it took longer than the time for a query, or the database cannot be read.
        """
        sql = text(f"{_SELECT} WHERE {where} ORDER BY {order} LIMIT :row_limit")
        with self.reading() as connection:
            found = connection.execute(sql, {**parameters, "row_limit": limit}).all()
        return [(int(seq), float(created), json.loads(body)) for seq, created, body in found]

    def aggregate(self, expression: str, where: str, parameters: Parameters, limit: int) -> list[tuple[Any, int]]:
        """How many events there are for each value of ``expression``, most frequent first. ``expression`` is the compiler's.

        Raises:
            StoreError: as ``select``.
        """
        sql = text(
            f"SELECT {expression} AS value, count(*) AS number FROM audit_logs WHERE {where} "  # noqa: S608
            "GROUP BY value ORDER BY number DESC, value LIMIT :row_limit"
        )
        with self.reading() as connection:
            return [(value, int(number)) for value, number in connection.execute(sql, {**parameters, "row_limit": limit})]

    def last_seq(self) -> int:
        """The number of the newest event; 0 when there is none."""
        with self.reading() as connection:
            return int(connection.execute(_NEWEST).scalar_one())

    def delete_before(self, moment: float, *, batch: int = RETENTION_BATCH, stop: threading.Event | None = None) -> int:
        """Delete events created before ``moment`` (seconds since the epoch), in short transactions between which events can be
        stored. ``stop`` ends it early. Returns how many went.

        Raises:
            StoreError: some may be deleted already.
        """
        sql = text(
            "DELETE FROM audit_logs WHERE seq IN "
            "(SELECT seq FROM audit_logs WHERE created_at < :moment ORDER BY created_at LIMIT :batch)"
        )
        total = 0
        while not (stop and stop.is_set()):
            with self.writing() as connection:
                gone = connection.execute(sql, {"moment": moment, "batch": batch}).rowcount
                _driver(connection).execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()  # a step frees a page
            total += gone
            if gone < batch:
                break
        return total

    def retain(self, seconds: float, stop: threading.Event | None = None) -> int:
        """Delete what is older than ``seconds``; 0 keeps everything."""
        return self.delete_before(self._clock.now() - seconds, stop=stop) if seconds else 0

    def check(self) -> None:
        """Whether the database answers. Raises StoreError when it does not."""
        self.last_seq()

    def close(self) -> None:
        self._readers.dispose()
        self._writer.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, alone; rolled back when the block raises. Raises StoreError."""
        with self._write_lock, _mapped(), self._writer.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that cannot write, with the time that a query may take. Raises StoreError."""
        with _mapped(), self._readers.connect() as connection:
            deadline = self._clock.monotonic() + self._query_seconds
            raw = _driver(connection)
            raw.set_progress_handler(lambda: self._clock.monotonic() > deadline, _PROGRESS_STEPS)
            try:
                yield connection
            finally:
                raw.set_progress_handler(None, 0)


def _stored_since(connection: Connection, seq: int) -> Tally:
    """Of events of which the store had some already: what they are is asked of the store, which knows what was new."""
    tally = Tally()
    for *whose, body in connection.execute(_SINCE, {"seq": seq}):
        tally.add(tuple(whose), json.loads(body).get("coverage"))
    return tally


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        cause = str(error.orig)
        raise StoreError("the query took too long" if cause == "interrupted" else f"database: {cause}") from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two processes that open a new file at once: the switch to WAL fails with "locked" and does not wait (measured)."""
    fd = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        path.touch(mode=0o600)
        yield
    finally:
        os.close(fd)


def _driver(connection: Connection) -> Any:
    """The sqlite3 connection under SQLAlchemy's."""
    return connection.connection.driver_connection


def _engine(path: Path, pool_size: int, setup: Any) -> Engine:
    engine = create_engine(
        f"sqlite+pysqlite:///{path}",
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS, "isolation_level": None},
    )
    event.listen(engine, "connect", setup)
    return engine


def _set_up_writer(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    # of a new file. In pages of 4096 bytes one record of 2.4 KB fills a page; in these a file has 40 % fewer bytes to write
    cursor.execute(f"PRAGMA page_size = {_PAGE}")
    cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
    cursor.execute("PRAGMA journal_mode = WAL")
    # FULL: a committed batch survives a loss of power. The spool forgets a batch once the cursor passed it.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA journal_size_limit = 67108864")
    cursor.execute("PRAGMA cache_size = -16384")  # the ends of all indices stay in memory
    cursor.close()


def _set_up_reader(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only = ON")
    cursor.execute("PRAGMA cache_size = -16384")
    cursor.close()
