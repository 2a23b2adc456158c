"""Bodies are found by their hash through the tenants: an index of hashes alone cost each new body a page to write, and served
searches only."""

from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    connection.exec_driver_sql("DROP INDEX idx_retro_hash")
