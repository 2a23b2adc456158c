"""Which clients have accepted or refused certificates of which CA, while one is being replaced."""

from sqlalchemy import Connection

_TABLE = """
CREATE TABLE ca_encounters (
    tenant_id VARCHAR(255) NOT NULL,
    client VARCHAR(45) NOT NULL,
    ca_sha256 VARCHAR(64) NOT NULL,
    accepted_at FLOAT NOT NULL,
    refused_at FLOAT NOT NULL,
    user_id VARCHAR(255) NOT NULL,
    user_agent VARCHAR(200) NOT NULL,
    PRIMARY KEY (tenant_id, client, ca_sha256)
)
"""


def upgrade(connection: Connection) -> None:
    connection.exec_driver_sql(_TABLE)
    connection.exec_driver_sql("CREATE INDEX idx_ca_encounters ON ca_encounters (ca_sha256)")
