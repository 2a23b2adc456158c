"""What is inspected: the ``auditor`` list."""

from typing import Literal

from pydantic import Field

from appliance.config.bodies import ContentCodings, LargeBodies
from appliance.config.consistency import NameConsistency
from appliance.config.icap_rule import IcapRule
from appliance.config.icap_service import IcapHealth
from appliance.config.interception import TlsInterception
from appliance.config.stream_units import StreamUnits
from appliance.config.values import IcapUri, Name, Node, Seconds, Size


class Auditor(Node):
    """How traffic is looked into. Tenants name one."""

    name: Name
    """What tenants and servers refer to it by."""
    tls_interception: TlsInterception | None = TlsInterception()
    """null: no TLS is decrypted, everything is spliced and recorded so."""
    icap_rules: list[IcapRule] = []
    """Which service a message goes to, by rules. What none of them matches goes to the two services below; where those are not
    given, the last rule must have no conditions."""
    icap_reqmod_service: IcapUri | None = None
    """``icap://host:1344/service``, ``icaps://host:11344/service`` or ``icap+unix:///path/to/socket:/service`` that requests
    go to; absent: requests are not scanned."""
    icap_respmod_service: IcapUri | None = None
    """The same for responses."""
    icap_health: IcapHealth | None = IcapHealth()
    """How these two are checked; null where they are no virus scanners and let EICAR pass: as scanners, they would be down."""
    icap_on_error: Literal["block", "bypass"] = "block"
    """What happens when one of these services cannot be asked: refuse the traffic, or pass it and record that it was not
    scanned."""
    icap_connect_timeout: Seconds = 2.0
    """Connecting to a service."""
    icap_timeout: Seconds = 30.0
    """One transaction, from the first byte sent to the last received."""
    icap_max_connections: int = Field(64, ge=1)
    """Connections to one service, per worker."""
    icap_block_page: Literal["ours", "service"] = "ours"
    """Whose page a person sees when an ICAP service blocks: ours names rule, reason and request id."""
    icap_send_identity: bool = True
    """X-Client-IP, X-Authenticated-User, X-Subscriber-ID and X-Tenant-ID to the service."""
    oversize: Literal["block", "bypass", "head"] = "block"
    """Bodies larger than ``max_scan_size``: blocked, passed without a scan, or passed when their first ``max_scan_size`` bytes
    are clean. What was not scanned is recorded."""
    large_bodies: LargeBodies = LargeBodies()
    """Bodies too large to be held in memory."""
    max_scan_size: Size = 25 * 1024 * 1024
    """The largest body that is sent to a service. Who raises it raises the scanner's own limits too."""
    content_codings: ContentCodings = ContentCodings()
    """Bodies that are packed."""
    ranges: Literal["whole", "pass", "block"] = "whole"
    """Range requests whose answers are scanned: ask for the whole and cut the part out of it, scan each piece alone (a
    signature that lies across two pieces is then not found; recorded as ``part``), or refuse them. Except with ``pass``, a part
    that comes nevertheless is blocked."""
    event_stream: Literal["scan", "block", "bypass"] = "scan"
    """Bodies without an end: text/event-stream, multipart/x-mixed-replace, lines of JSON, gRPC and Connect. ``scan`` gives each
    event, part, line or message to the service before it goes on; ``block`` refuses event streams and multipart, and holds the
    others until they are complete; ``bypass`` passes event streams, multipart and gRPC as they come."""
    stream_units: StreamUnits = StreamUnits()
    """How such bodies are scanned."""
    trailers: Literal["scan", "pass", "strip"] = "scan"
    """Fields behind a body (RFC 9110 section 6.5; gRPC has its status there): given to the service as a text of their own
    before they go on, passed and recorded (``trailers``), or left out. Of a request that is scanned and goes on before they
    come they are left out."""
    alt_svc: Literal["strip", "clear", "inspected", "pass"] = "strip"
    """Alternative services (Alt-Svc), by which servers send clients to QUIC or to other hosts. ``strip``: clients do not learn
    of them. ``clear``: they are told to forget those they know from elsewhere. ``inspected``: only those over TCP on the same
    host and port. ``pass``: as the server says, and clients may go around the appliance. HTTP/2's ALTSVC frames never pass."""
    websocket: Literal["block", "bypass", "scan"] = "bypass"
    """WebSockets: refuse the upgrade, relay the messages unscanned and record that, or give each message to the service of its
    direction (or to the one there is) before it goes on."""
    max_message_size: Size = 1024 * 1024
    """The largest message of a WebSocket, event, or part that is held for its scan; above it ``oversize`` decides."""
    name_consistency: NameConsistency = NameConsistency()
    """When the names of one connection do not agree."""
    unknown_protocol: Literal["block", "bypass"] = "block"
    """Tunnels that speak neither TLS nor HTTP."""
    application_audit_ratio: float = Field(1.0, ge=0.0, le=1.0)
    """Share of client connections that are scanned; the others are recorded as ``not_sampled``."""
