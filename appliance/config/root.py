"""The whole configuration file."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from appliance.config.auditor import Auditor
from appliance.config.bodies import HeldBodies
from appliance.config.ca import Ca
from appliance.config.coverage_alarm import CoverageAlarm
from appliance.config.escaper import Escaper
from appliance.config.host_list import HostList
from appliance.config.icap_chain import IcapChain
from appliance.config.icap_server import IcapServer
from appliance.config.icap_service import IcapService
from appliance.config.icap_set import IcapSet
from appliance.config.portal import Portal
from appliance.config.quarantine import Quarantine
from appliance.config.redis import Redis
from appliance.config.reloading import Reload
from appliance.config.resolver import Resolver
from appliance.config.retro import Retro
from appliance.config.server import Server
from appliance.config.tenant import Tenant
from appliance.config.users import UserGroup
from appliance.config.values import FilePath, Host, Listen, Node, Seconds, Size
from appliance.config.verdict_cache import VerdictCache


class Log(Node):
    """Log messages of the processes."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is written."""
    target: Literal["stdout", "stderr", "journal"] = "stdout"
    """``journal``: as ``stderr``, and each line begins with the priority that systemd-journald reads. Away from a terminal each
    line is one JSON object; words for a person, such as the addresses and the admin token at the start, are on standard output,
    or on standard error where the log has standard output."""


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
    reload: Reload = Reload()
    """How a new configuration takes the place of the one that runs."""
    log: Log = Log()
    """What the processes tell about themselves; traffic goes to the audit log."""
    ca: list[Ca]
    """Signing CAs. Each tenant names one."""
    resolver: list[Resolver] = []
    """Name resolution. Escapers name one, or use the system's."""
    escaper: list[Escaper]
    """Ways out."""
    host_list: list[HostList] = []
    """Named lists of hosts that decryption rules refer to."""
    icap_service: list[IcapService] = []
    """ICAP services that auditors' rules lead to."""
    icap_set: list[IcapSet] = []
    """Services that stand in for each other."""
    icap_chain: list[IcapChain] = []
    """Services that are asked one after the other."""
    held_bodies: HeldBodies = HeldBodies()
    """What bodies that wait for their scan may take of memory and disk."""
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
    portal: Portal = Portal()
    """Pages for clients on a fixed name, through the proxy itself: the CA, the test of it, proxy settings."""
    redis: Redis | None = None
    """A Redis in which leaves are shared between nodes and outlive a restart; absent: each node has its own."""
    admin: Admin | None = None
    """Pages, REST, metrics and health; absent: none of them."""
    audit: Audit = Audit()
    """Where audit records go."""
    coverage_alarm: CoverageAlarm | None = None
    """An alarm when too much of a tenant's traffic passes unscanned; absent: none."""
    verdict_cache: VerdictCache = VerdictCache()
    """Verdicts of scans are kept."""
    quarantine: Quarantine = Quarantine()
    """Infected bodies are kept for analysts; absent: none are."""
    retro: Retro = Retro()
    """What was delivered is remembered by its hash, and judged again when signatures change."""
    demo_origin: DemoOrigin | None = None
    """A test origin; absent: none is started."""
