"""How many rows of a table stay. All texts that are put together here are this package's own."""

from typing import Final

from sqlalchemy import Connection, text


def keep_most_recent(connection: Connection, rows: str, each: str, column: str, most: int) -> None:
    """Keep so many of each."""
    table = rows.partition(" ")[0]
    ranked = f"SELECT rowid, row_number() OVER (PARTITION BY {each} ORDER BY {column} DESC) AS place FROM {rows}"  # noqa: S608
    sql = f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM ({ranked}) WHERE place > :most)"  # noqa: S608
    connection.execute(text(sql), {"most": most})


_BEYOND: Final = """
SELECT rowid FROM (
    SELECT rowid, seen, row_number() OVER (PARTITION BY tenant_id ORDER BY nth, seen DESC) AS place FROM (
        SELECT rowid, tenant_id, {column} AS seen,
        row_number() OVER (PARTITION BY tenant_id, client ORDER BY {column} DESC) AS nth FROM {table}
    )
) ORDER BY place, seen DESC LIMIT -1 OFFSET :most
"""


def keep_fair_share(connection: Connection, table: str, column: str, most: int) -> None:
    """Keep so many in all. Tenants share the room evenly, and so do the clients of each: whoever makes most rows loses
    rows, and nobody pushes out what others have shown."""
    if connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() <= most:  # noqa: S608 - fixed texts
        return
    beyond = _BEYOND.format(table=table, column=column)
    connection.execute(text(f"DELETE FROM {table} WHERE rowid IN ({beyond})"), {"most": most})  # noqa: S608 - fixed texts
