"""The first schema: audit_logs."""

from sqlalchemy import Connection

_TABLE = """
CREATE TABLE audit_logs (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id VARCHAR(26) NOT NULL,
    tenant_id VARCHAR(255) NOT NULL,
    user_id VARCHAR(255) NOT NULL,
    event_type VARCHAR(16) NOT NULL
        CHECK (event_type IN ('connection', 'request', 'response', 'block', 'allow', 'error')),
    source_ip VARCHAR(45) NOT NULL,
    target_host VARCHAR(255) NOT NULL,
    target_port INTEGER NOT NULL,
    method VARCHAR(32) NOT NULL,
    url TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    response_code INTEGER NOT NULL,
    bytes_sent INTEGER NOT NULL,
    bytes_received INTEGER NOT NULL,
    duration_ms FLOAT NOT NULL,
    blocked BOOLEAN NOT NULL,
    block_reason VARCHAR(64) NOT NULL,
    created_at FLOAT NOT NULL,
    metadata JSON NOT NULL,
    conn_id VARCHAR(26) NOT NULL,
    action VARCHAR(16) NOT NULL,
    rule TEXT NOT NULL,
    signature TEXT NOT NULL,
    UNIQUE (id)
)
"""

_INDEXES = {
    "idx_audit_tenant": "tenant_id, created_at",
    "idx_audit_user": "user_id, created_at",
    "idx_audit_created": "created_at",
    "idx_audit_type": "event_type, created_at",
    "idx_audit_blocked": "blocked, created_at",
    "idx_audit_host": "target_host, created_at",
    "idx_audit_source": "source_ip, created_at",
    "idx_audit_reason": "block_reason, created_at",
}


def upgrade(connection: Connection) -> None:
    connection.exec_driver_sql(_TABLE)
    for name, columns in _INDEXES.items():
        connection.exec_driver_sql(f"CREATE INDEX {name} ON audit_logs ({columns})")
