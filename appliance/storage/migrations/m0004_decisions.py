"""The history of exclusions becomes an outbox: each step is told to the audit stream, and marked when it was.

Steps that were taken before are told, too: nobody could see them there.
"""

from sqlalchemy import Connection

_STEPS = (
    "ALTER TABLE exclusion_history ADD COLUMN event_id VARCHAR(26) NOT NULL DEFAULT ''",
    "ALTER TABLE exclusion_history ADD COLUMN via VARCHAR(16) NOT NULL DEFAULT 'appliance'",
    "ALTER TABLE exclusion_history ADD COLUMN source_ip VARCHAR(45) NOT NULL DEFAULT ''",
    "ALTER TABLE exclusion_history ADD COLUMN until FLOAT NOT NULL DEFAULT 0",
    "ALTER TABLE exclusion_history ADD COLUMN told BOOLEAN NOT NULL DEFAULT 0",
    "UPDATE exclusion_history SET event_id = lower(hex(randomblob(13)))",
    "CREATE INDEX idx_exclusion_untold ON exclusion_history (seq) WHERE NOT told",
)


def upgrade(connection: Connection) -> None:
    for statement in _STEPS:
        connection.exec_driver_sql(statement)
