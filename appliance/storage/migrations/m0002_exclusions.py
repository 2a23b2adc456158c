"""What exclusions are learned from, the exclusions themselves, and who decided what."""

from sqlalchemy import Connection

_TABLES = (
    """
CREATE TABLE tls_refusals (
    conn_id VARCHAR(26) NOT NULL PRIMARY KEY,
    tenant_id VARCHAR(255) NOT NULL,
    host VARCHAR(255) NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    kind VARCHAR(8) NOT NULL,
    client VARCHAR(300) NOT NULL,
    cause VARCHAR(64) NOT NULL,
    created_at FLOAT NOT NULL
)
""",
    """
CREATE TABLE tls_acceptances (
    tenant_id VARCHAR(255) NOT NULL,
    client VARCHAR(300) NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    host VARCHAR(255) NOT NULL,
    user_agent VARCHAR(200) NOT NULL,
    seen_at FLOAT NOT NULL,
    PRIMARY KEY (tenant_id, client, fingerprint, host)
)
""",
    """
CREATE TABLE exclusions (
    id VARCHAR(26) NOT NULL PRIMARY KEY,
    tenant_id VARCHAR(255) NOT NULL,
    host VARCHAR(255) NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    kind VARCHAR(8) NOT NULL CHECK (kind IN ('pinned', 'mtls', 'manual')),
    state VARCHAR(8) NOT NULL CHECK (state IN ('proposed', 'active', 'rejected', 'expired', 'removed')),
    reason TEXT NOT NULL,
    retest INTEGER NOT NULL,
    created_at FLOAT NOT NULL,
    decided_at FLOAT NOT NULL,
    decided_by VARCHAR(300) NOT NULL,
    until FLOAT NOT NULL,
    evidence JSON NOT NULL
)
""",
    """
CREATE TABLE exclusion_history (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    exclusion_id VARCHAR(26) NOT NULL,
    at FLOAT NOT NULL,
    actor VARCHAR(300) NOT NULL,
    action VARCHAR(16) NOT NULL,
    note TEXT NOT NULL
)
""",
)
_INDEXES = (
    "CREATE INDEX idx_refusals_key ON tls_refusals (tenant_id, host, fingerprint, created_at)",
    "CREATE INDEX idx_refusals_age ON tls_refusals (created_at)",
    "CREATE INDEX idx_acceptances_host ON tls_acceptances (tenant_id, host, fingerprint)",
    "CREATE INDEX idx_acceptances_age ON tls_acceptances (seen_at)",
    "CREATE UNIQUE INDEX idx_exclusions_open ON exclusions (tenant_id, host, fingerprint) "
    "WHERE state IN ('proposed', 'active', 'rejected')",
    "CREATE INDEX idx_exclusion_history ON exclusion_history (exclusion_id, seq)",
)


def upgrade(connection: Connection) -> None:
    for statement in (*_TABLES, *_INDEXES):
        connection.exec_driver_sql(statement)
