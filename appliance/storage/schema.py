"""The tables, as SQLAlchemy Core. The migrations make them; a test holds the two together.

``audit_logs`` has the columns that are filtered and sorted by; ``metadata`` is the whole event as JSON. Each index
ends in ``created_at``: every list is newest first, so one index serves the filter and the order at once.
"""

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text, text

metadata = MetaData()

schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("applied_at", Float, nullable=False),
)

audit_logs = Table(
    "audit_logs",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("id", String(26), nullable=False, unique=True),
    Column("tenant_id", String(255), nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("event_type", String(16), nullable=False),
    Column("source_ip", String(45), nullable=False),
    Column("target_host", String(255), nullable=False),
    Column("target_port", Integer, nullable=False),
    Column("method", String(32), nullable=False),
    Column("url", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("response_code", Integer, nullable=False),
    Column("bytes_sent", Integer, nullable=False),
    Column("bytes_received", Integer, nullable=False),
    Column("duration_ms", Float, nullable=False),
    Column("blocked", Boolean, nullable=False),
    Column("block_reason", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("metadata", JSON, nullable=False),
    # beyond the 18: what analysts filter by most
    Column("conn_id", String(26), nullable=False),
    Column("action", String(16), nullable=False),
    Column("rule", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Index("idx_audit_tenant", "tenant_id", "created_at"),
    Index("idx_audit_user", "user_id", "created_at"),
    Index("idx_audit_created", "created_at"),
    Index("idx_audit_type", "event_type", "created_at"),
    Index("idx_audit_blocked", "blocked", "created_at"),
    Index("idx_audit_host", "target_host", "created_at"),
    Index("idx_audit_source", "source_ip", "created_at"),
    Index("idx_audit_reason", "block_reason", "created_at"),
    sqlite_autoincrement=True,
)

coverage = Table(
    "coverage",
    metadata,
    # seconds since the epoch, of the hour's beginning
    Column("hour", Integer, primary_key=True),
    Column("tenant_id", String(255), primary_key=True),
    Column("host", String(255), primary_key=True),
    Column("user_id", String(255), primary_key=True),
    Column("direction", String(8), primary_key=True),
    Column("bucket", String(16), primary_key=True),
    Column("why", String(32), primary_key=True),
    Column("bytes", Integer, nullable=False),
    Column("tasks", Integer, nullable=False),
    sqlite_with_rowid=False,
)

tls_refusals = Table(
    "tls_refusals",
    metadata,
    Column("conn_id", String(26), primary_key=True),
    Column("tenant_id", String(255), nullable=False),
    Column("host", String(255), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("client", String(300), nullable=False),
    Column("cause", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Index("idx_refusals_key", "tenant_id", "host", "fingerprint", "created_at"),
    Index("idx_refusals_age", "created_at"),
)

tls_acceptances = Table(
    "tls_acceptances",
    metadata,
    Column("tenant_id", String(255), primary_key=True),
    Column("client", String(300), primary_key=True),
    Column("fingerprint", String(64), primary_key=True),
    Column("host", String(255), primary_key=True),
    Column("user_agent", String(200), nullable=False),
    Column("seen_at", Float, nullable=False),
    Index("idx_acceptances_host", "tenant_id", "host", "fingerprint"),
    Index("idx_acceptances_age", "seen_at"),
)

exclusions = Table(
    "exclusions",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("tenant_id", String(255), nullable=False),
    Column("host", String(255), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("state", String(8), nullable=False),
    Column("reason", Text, nullable=False),
    Column("retest", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("decided_at", Float, nullable=False),
    Column("decided_by", String(300), nullable=False),
    Column("until", Float, nullable=False),
    Column("evidence", JSON, nullable=False),
)
Index(
    "idx_exclusions_open",
    exclusions.c.tenant_id,
    exclusions.c.host,
    exclusions.c.fingerprint,
    unique=True,
    sqlite_where=text("state IN ('proposed', 'active', 'rejected')"),
)

exclusion_history = Table(
    "exclusion_history",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("exclusion_id", String(26), nullable=False),
    Column("at", Float, nullable=False),
    Column("actor", String(300), nullable=False),
    Column("action", String(16), nullable=False),
    Column("note", Text, nullable=False),
    # an outbox: each step is told to the audit stream, under an id that stays the same
    Column("event_id", String(26), nullable=False),
    Column("via", String(16), nullable=False),
    Column("source_ip", String(45), nullable=False),
    Column("until", Float, nullable=False),
    Column("told", Boolean, nullable=False),
    Index("idx_exclusion_history", "exclusion_id", "seq"),
    sqlite_autoincrement=True,
)
Index("idx_exclusion_untold", exclusion_history.c.seq, sqlite_where=text("NOT told"))

ca_encounters = Table(
    "ca_encounters",
    metadata,
    Column("tenant_id", String(255), primary_key=True),
    Column("client", String(45), primary_key=True),
    Column("ca_sha256", String(64), primary_key=True),
    Column("accepted_at", Float, nullable=False),
    Column("refused_at", Float, nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("user_agent", String(200), nullable=False),
    Index("idx_ca_encounters", "ca_sha256"),
)

retro_bodies = Table(
    "retro_bodies",
    metadata,
    Column("tenant_id", String(255), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("size", Integer, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("verdict", String(9), nullable=False),
    Column("limits", String(64), nullable=False),
    Column("service", String(512), nullable=False),
    Column("engine", String(512), nullable=False),
    Column("istag", String(128), nullable=False),
    Column("judged_at", Float, nullable=False),
    Column("sample", String(32), nullable=False),
    # of a packed body: what is in it, once that is known
    Column("plain", String(64), nullable=False),
    Column("tried_at", Float, nullable=False),
    Column("signature", String(512), nullable=False),
    Column("found_by", String(300), nullable=False),
    Column("found_at", Float, nullable=False),
    Index("idx_retro_age", "tenant_id", "last_at"),
    Index("idx_retro_bad", "tenant_id", "found_at", sqlite_where=text("verdict = 'bad'")),
    Index("idx_retro_plain", "plain", sqlite_where=text("plain <> ''")),
    Index("idx_retro_samples", "tenant_id", "judged_at", sqlite_where=text("sample <> ''")),
    sqlite_with_rowid=False,
)

retro_flows = Table(
    "retro_flows",
    metadata,
    Column("tenant_id", String(255), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("task_id", String(26), primary_key=True),
    Column("side", String(8), primary_key=True),
    Column("at", Float, nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("client", String(45), nullable=False),
    Column("host", String(255), nullable=False),
    Column("url", Text, nullable=False),
    # an alert has listed it
    Column("told", Boolean, nullable=False),
    Index("idx_retro_flows_age", "tenant_id", "at"),
    sqlite_with_rowid=False,
)

retro_hunts = Table(
    "retro_hunts",
    metadata,
    Column("tenant_id", String(255), primary_key=True),
    Column("cause", String(64), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float, nullable=False),
    Column("lists", String(64), nullable=False),
    Column("position", String(64), nullable=False),
    Column("tag", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("judged", Integer, nullable=False),
    Column("found", Integer, nullable=False),
    sqlite_with_rowid=False,
)
