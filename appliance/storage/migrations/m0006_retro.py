"""The ledger of what was delivered: bodies by their hash, the flows that delivered them, and how far hunts have come."""

from sqlalchemy import Connection

_TABLES = (
    """
CREATE TABLE retro_bodies (
    tenant_id VARCHAR(255) NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    size INTEGER NOT NULL,
    first_at FLOAT NOT NULL,
    last_at FLOAT NOT NULL,
    verdict VARCHAR(9) NOT NULL,
    limits VARCHAR(64) NOT NULL,
    service VARCHAR(512) NOT NULL,
    engine VARCHAR(512) NOT NULL,
    istag VARCHAR(128) NOT NULL,
    judged_at FLOAT NOT NULL,
    sample VARCHAR(32) NOT NULL,
    plain VARCHAR(64) NOT NULL,
    tried_at FLOAT NOT NULL,
    signature VARCHAR(512) NOT NULL,
    found_by VARCHAR(300) NOT NULL,
    found_at FLOAT NOT NULL,
    PRIMARY KEY (tenant_id, sha256)
) WITHOUT ROWID
""",
    """
CREATE TABLE retro_flows (
    tenant_id VARCHAR(255) NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    task_id VARCHAR(26) NOT NULL,
    side VARCHAR(8) NOT NULL,
    at FLOAT NOT NULL,
    user_id VARCHAR(255) NOT NULL,
    client VARCHAR(45) NOT NULL,
    host VARCHAR(255) NOT NULL,
    url TEXT NOT NULL,
    told BOOLEAN NOT NULL,
    PRIMARY KEY (tenant_id, sha256, task_id, side)
) WITHOUT ROWID
""",
    """
CREATE TABLE retro_hunts (
    tenant_id VARCHAR(255) NOT NULL PRIMARY KEY,
    cause VARCHAR(64) NOT NULL,
    started_at FLOAT NOT NULL,
    ended_at FLOAT NOT NULL,
    lists VARCHAR(64) NOT NULL,
    position VARCHAR(64) NOT NULL,
    tag TEXT NOT NULL,
    since FLOAT NOT NULL,
    judged INTEGER NOT NULL,
    found INTEGER NOT NULL
) WITHOUT ROWID
""",
)
_INDEXES = (
    "CREATE INDEX idx_retro_age ON retro_bodies (tenant_id, last_at)",
    "CREATE INDEX idx_retro_bad ON retro_bodies (tenant_id, found_at) WHERE verdict = 'bad'",
    "CREATE INDEX idx_retro_samples ON retro_bodies (tenant_id, judged_at) WHERE sample <> ''",
    "CREATE INDEX idx_retro_hash ON retro_bodies (sha256)",
    "CREATE INDEX idx_retro_plain ON retro_bodies (plain) WHERE plain <> ''",
    "CREATE INDEX idx_retro_flows_age ON retro_flows (tenant_id, at)",
)


def upgrade(connection: Connection) -> None:
    for statement in (*_TABLES, *_INDEXES):
        connection.exec_driver_sql(statement)
