"""The ledger of what was inspected: bytes by hour, tenant, host, user and bucket."""

from sqlalchemy import Connection

_TABLE = """
CREATE TABLE coverage (
    hour INTEGER NOT NULL,
    tenant_id VARCHAR(255) NOT NULL,
    host VARCHAR(255) NOT NULL,
    user_id VARCHAR(255) NOT NULL,
    direction VARCHAR(8) NOT NULL,
    bucket VARCHAR(16) NOT NULL,
    why VARCHAR(32) NOT NULL,
    bytes INTEGER NOT NULL,
    tasks INTEGER NOT NULL,
    PRIMARY KEY (hour, tenant_id, host, user_id, direction, bucket, why)
) WITHOUT ROWID
"""


def upgrade(connection: Connection) -> None:
    connection.exec_driver_sql(_TABLE)
