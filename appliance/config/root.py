"""The whole configuration file."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from appliance.config.auditor import Auditor
from appliance.config.escaper import Escaper
from appliance.config.resolver import Resolver
from appliance.config.server import Server
from appliance.config.tenant import Tenant
from appliance.config.users import UserGroup
from appliance.config.values import FilePath, Host, HostPort, Listen, Name, Node, Seconds, Size


class Log(Node):
    """Log messages of the processes."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is written."""
    target: Literal["stdout", "stderr", "journal"] = "stdout"
    """``journal``: as ``stderr``, and each line begins with the priority that systemd-journald reads."""


class Ca(Node):
    """A signing CA: made under ``state_dir/ca/<name>`` at first start, unless ``certificate`` and ``private_key`` are given."""

    name: Name
    """What tenants refer to it by, and its folder under ``state_dir/ca``."""
    common_name: str = Field("Arcus Inspection CA", min_length=1, max_length=64)
    """Shown in the trust stores of clients. Only used when the CA is created."""
    key: Literal["ec-p256", "ec-p384", "rsa-2048", "rsa-4096"] = "ec-p256"
    """The key that is created. Leaves have keys of their own."""
    certificate: FilePath | None = None
    """A PEM file with the CA certificate, then its chain, if any."""
    private_key: FilePath | None = None
    """The key of ``certificate``, as PEM without a passphrase, mode 0600."""
    validity_days: int = Field(1825, ge=30, le=7300)
    """How long a created CA is valid."""
    leaf_days: int = Field(47, ge=1, le=200)
    """How long a forged certificate is valid; never longer than the CA and the real certificate."""
    leaf_cache_size: int = Field(2_000, ge=1)
    """Leaves kept in memory by each worker; one takes about 26 KB, and signing it again well under a millisecond."""
    leaf_cache_ttl: Seconds = 86_400.0
    """How long one is kept."""


class ClamdScanner(Node):
    """clamd, over its socket. ``managed``: start our own clamd when nothing answers there."""

    type: Literal["clamd"]
    """The kind of scanner."""
    socket: FilePath | None = None
    """Path of clamd's local socket."""
    tcp: HostPort | None = None
    """host:port, instead of a socket."""
    managed: bool = False
    """Start a clamd of our own, under ``state_dir``, when nothing answers."""
    timeout: Seconds = 30.0
    """One scan, from the first byte sent to the verdict."""
    concurrency: int = Field(8, ge=1)
    """Scans at one time; further ones wait."""
    max_size: Size = 25 * 1024 * 1024
    """Bodies above are an error for the client's policy to decide, never clean. At most clamd's StreamMaxLength."""


class IcapServer(Node):
    """An ICAP server (RFC 3507) that hands bodies to a scanner."""

    listen: Listen
    """Where it listens. It has no authentication: keep it on loopback or a private network."""
    scanner: ClamdScanner
    """What judges the bodies."""
    preview: int = Field(1024, ge=0)
    """Bytes of a body that a client sends first (RFC 3507 section 4.5)."""
    max_connections: int = Field(512, ge=1)
    """Further connections are closed at once."""
    idle_timeout: Seconds = 120.0
    """A connection without a request."""
    header_timeout: Seconds = 10.0
    """From the first byte of a request to the end of its header sections."""
    body_timeout: Seconds = 30.0
    """Between two reads of a body."""


class Admin(Node):
    """Pages, REST, /metrics, /health and /ready. Loopback only, unless ``allow_remote`` says otherwise."""

    listen: Listen
    """Where it listens."""
    allow_remote: bool = False
    """Needed for an address that is not loopback."""
    names: list[Host] = []
    """Names under which browsers reach it, besides its address and localhost; requests for other names are refused."""


class AuditStore(Node):
    """The audit database."""

    type: Literal["sqlite"] = "sqlite"
    """The kind of database."""
    path: FilePath | None = None
    """``state_dir/audit.db`` when absent."""
    retention: Seconds = 90 * 86_400.0
    """Older records are deleted; 0 keeps all."""


class JsonLines(Node):
    """A file with one JSON object per line."""

    path: FilePath
    """The file."""
    rotate_size: Size = 256 * 1024 * 1024
    """Above this size a new file is begun."""
    keep: int = Field(10, ge=1)
    """Rotated files that are kept."""


class Audit(Node):
    """Audit records."""

    store: AuditStore = AuditStore()
    """The database that pages and ``arcus audit`` read."""
    json_lines: JsonLines | None = None
    """``state_dir/audit.jsonl`` when absent."""
    mask_query: list[str] = [
        "token",
        "access_token",
        "password",
        "passwd",
        "secret",
        "api_key",
        "key",
        "sig",
        "signature",
        "code",
    ]
    """Query parameters whose values are replaced before anything is written."""
    spool_max: Size = 1024 * 1024 * 1024
    """Unwritten records on disk; above it new tasks are refused rather than passed without a record."""


class DemoOrigin(Node):
    """A local web server to try the appliance on, with its own CA under ``state_dir/demo``."""

    https: Listen
    """Where HTTPS is served."""
    http: Listen
    """Where plain HTTP is served."""


class AppConfig(Node):
    """The file as a whole: the lists of nodes, and what the appliance needs for itself."""

    state_dir: FilePath = Field(Path("./state"), validate_default=True)
    """CA keys, audit database, spool and sockets; created 0700."""
    workers: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = "auto"
    """Processes that share each port; ``auto`` is one per core."""
    log: Log = Log()
    """What the processes tell about themselves; traffic goes to the audit log."""
    ca: list[Ca]
    """Signing CAs. Each tenant names one."""
    resolver: list[Resolver] = []
    """Name resolution. Escapers name one, or use the system's."""
    escaper: list[Escaper]
    """Ways out."""
    auditor: list[Auditor]
    """What is decrypted and scanned."""
    user_group: list[UserGroup] = []
    """Who may use the proxy."""
    tenant: list[Tenant]
    """Whom traffic belongs to, and their policies. The tenant ``default`` gets what no other one matches."""
    server: list[Server]
    """Listeners."""
    icap_server: IcapServer | None = None
    """Our own ICAP server, with the services ``reqmod`` and ``respmod``; absent: none is started."""
    admin: Admin | None = None
    """Pages, REST, metrics and health; absent: none of them."""
    audit: Audit = Audit()
    """Where audit records go."""
    demo_origin: DemoOrigin | None = None
    """A test origin; absent: none is started."""
