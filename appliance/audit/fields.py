"""Every field an event can have, once: the documentation, the query language and the tests read this table."""

from dataclasses import dataclass
from enum import Enum

from appliance.domain.not_scanned import NotScanned
from appliance.domain.quarantine import Keeping
from appliance.domain.tls_failure import TlsFailure


class Kind(Enum):
    TEXT = "text"
    IP = "address"
    NUMBER = "number"
    TIME = "time"
    FLAG = "true or false"
    LIST = "list of text"
    MAP = "numbers by name"


@dataclass(frozen=True, slots=True)
class Field:
    """``name`` is dotted for a part of an object. ``column``: the database column, for what is filtered by an index or a
    plain comparison. ``array``: the list of objects that the field is in."""

    name: str
    kind: Kind
    about: str
    column: str = ""
    array: str = ""


_TEXT, _IP, _NUMBER, _TIME, _FLAG, _LIST = Kind.TEXT, Kind.IP, Kind.NUMBER, Kind.TIME, Kind.FLAG, Kind.LIST

CORE = (
    Field("id", _TEXT, "The task's id, a ULID: sorts by the start of the task. The block page shows it.", "id"),
    Field("conn_id", _TEXT, "The client connection's id; all tasks of one connection share it.", "conn_id"),
    Field("tenant_id", _TEXT, "The tenant; empty when none was found.", "tenant_id"),
    Field("user_id", _TEXT, "The authenticated user; empty without one.", "user_id"),
    Field("event_type", _TEXT, "`connection`, `request`, `response`, `block`, `allow` or `error`.", "event_type"),
    Field(
        "kind",
        _TEXT,
        "`request`, `tunnel`, `connection` or `websocket`; `decision`: somebody acted on the appliance itself; `retro`: what "
        "was delivered is found bad afterwards.",
    ),
    Field("source_ip", _IP, "The client's address.", "source_ip"),
    Field("source_port", _NUMBER, "The client's port."),
    Field("server", _TEXT, "Name of the listener."),
    Field("destination_host", _TEXT, "Host the task wanted, normalised.", "target_host"),
    Field("destination_port", _NUMBER, "Port the task wanted; 0 when unknown.", "target_port"),
    Field("method", _TEXT, "HTTP method.", "method"),
    Field("url", _TEXT, "URL, without user and password, with masked parameters; `host:port` for a tunnel.", "url"),
    Field("user_agent", _TEXT, "User-Agent of the request.", "user_agent"),
    Field("status", _NUMBER, "Status sent to the client; 0 for none.", "response_code"),
    Field("bytes_sent", _NUMBER, "Bytes of the response body, or of a relay or WebSocket, to the client.", "bytes_sent"),
    Field(
        "bytes_received", _NUMBER, "Bytes of the request body, or of a relay or WebSocket, from the client.", "bytes_received"
    ),
    Field("duration_ms", _NUMBER, "From start to end, in milliseconds.", "duration_ms"),
    Field("blocked", _FLAG, "The appliance refused or stopped it.", "blocked"),
    Field(
        "action",
        _TEXT,
        "`allow`, `block`, `redirect`, `require_auth`, `fail`: allowed, but not done; `decide` and `alert`: no traffic.",
        "action",
    ),
    Field("reason", _TEXT, "Why it ended so: the reason word, `ok` when nothing was wrong.", "block_reason"),
    Field("rule", _TEXT, "The rule that decided.", "rule"),
    Field("stage", _TEXT, "Last stage: accepted, identified, decided, connected, sent, responded, finished."),
    Field("started_at", _TIME, "Start of the task, seconds since the epoch."),
    Field("created_at", _TIME, "End of the task, when the event was made, seconds since the epoch.", "created_at"),
)

DETAIL = (
    Field("scheme", _TEXT, "http, https, ws, wss, connect, socks, tcp."),
    Field("http_version", _TEXT, "As the client spoke it."),
    Field("referer", _TEXT, "Masked like `url`."),
    Field("request_type", _TEXT, "Content-Type of the request."),
    Field("response_type", _TEXT, "Content-Type of the response."),
    Field("upstream_status", _NUMBER, "Status the server sent."),
    Field("websocket_frames", Kind.MAP, "Messages from the client and from the server, a list of two numbers."),
    Field("reason_source", _TEXT, "Who caused it: none, client, upstream, policy, icap, internal."),
    Field("detail", _TEXT, "More on the reason, for a person."),
    Field("signature", _TEXT, "First signature that a scan found.", "signature"),
    Field("decision", _TEXT, "What the access policy said: allow, block, redirect, require_auth."),
    Field("level", _TEXT, "Where the deciding rule stands: tenant, user, site, decrypt, consistency."),
    Field("policies", _LIST, "Every policy evaluated, in order."),
    Field("decrypt", _TEXT, "Decision of the decryption rules: intercept, splice, block."),
    Field("decrypt_rule", _TEXT, "The decryption rule that decided."),
    Field("decrypt_text", _TEXT, "The reason that the operator wrote into that rule."),
    Field(
        "tls_ech",
        _TEXT,
        "Encrypted Client Hello, where the ClientHello had it. `offered`: real or noise (GREASE), which look alike; the name "
        "shown may not be the one meant. `grease`: noise, as the client went on under the name shown. `fallback`: it was "
        "meant; the client ended with ech_required, and comes back without.",
    ),
    Field("tls_failure", _TEXT, "Why TLS failed: " + ", ".join(f"`{each.value}`" for each in TlsFailure) + "."),
    Field("tls_failure_side", _TEXT, "Whose handshake failed: client or server."),
    Field("mismatches", _LIST, "Names that do not agree, each `KIND: what`; the kinds are sni, host, reuse, address."),
    Field("staged", _LIST, "Rules for a share of the clients that hold otherwise: `name: in 25%`, `name: not in 25%`."),
    Field("would", _LIST, "What rules in monitor mode would have done: `decrypt NAME: block`, `access NAME: block`."),
    Field("user_group", _TEXT, "The user's group."),
    Field("tenant_method", _TEXT, "How the tenant was found: listener, header, network, name, default."),
    Field("tenant_detail", _TEXT, "What matched."),
    Field("listen_ip", _IP, "Address the client connected to."),
    Field("listen_port", _NUMBER, "Port the client connected to."),
    Field("protocol", _TEXT, "How the client speaks to us: http, connect, socks5, tproxy."),
    Field("tunnel", _TEXT, "The tunnel's target that the request came through."),
    Field("original_dst", _TEXT, "Destination before a redirection by the firewall."),
    Field("conn_started_at", _TIME, "When the client connection was accepted."),
    Field("conn_requests", _NUMBER, "Requests on the connection so far."),
    Field("conn_bytes_received", _NUMBER, "Bytes from the client on the connection so far."),
    Field("conn_bytes_sent", _NUMBER, "Bytes to the client on the connection so far."),
    Field("events", _LIST, "Things worth a word, such as `tenant_header_ignored`."),
    Field("escaper", _TEXT, "The root escaper that was asked."),
    Field(
        "not_scanned",
        _LIST,
        "Why a body passed without a scan, each `request: WORD` or `response: WORD`: "
        + ", ".join(f"`{each.word}`" for each in NotScanned)
        + ".",
    ),
    Field(
        "scanned_bytes",
        Kind.MAP,
        "Body bytes that a service judged, by `request` and `response`; of WebSockets, frames.",
    ),
    Field("unscanned_bytes", Kind.MAP, "Body bytes that went on unjudged, by the words of `not_scanned`."),
    Field(
        "coverage",
        Kind.MAP,
        "`bytes_received` and `bytes_sent` by what became of them, each `DIRECTION: BUCKET WHY`, in the words of "
        "[coverage.md](coverage.md). Their sum is that of the two.",
    ),
    Field(
        "packed",
        _LIST,
        "`request`, `response`: sides whose body was scanned as it was transferred, packed with gzip. Their `scans[].sha256` "
        "is of the packed form.",
    ),
    Field(
        "samples.request",
        _TEXT,
        "Id of the sealed copy of the request's body (docs/retro.md), or `not kept: WORD`: `too_large`, `busy`, `failed`.",
    ),
    Field("samples.response", _TEXT, "The same of the response's body."),
    Field(
        "quarantine",
        _TEXT,
        "Id of the infected body in the tenant's quarantine, or `not kept: WORD`: "
        + ", ".join(f"`{each.value}`" for each in Keeping if each not in (Keeping.KEPT, Keeping.AGAIN, Keeping.FULL))
        + ". When writing fails later, an event of `kind: decision` says so.",
    ),
    Field("steps", Kind.MAP, "Milliseconds by step, an object."),
)

HELLO = (
    Field("client_hello.sni", _TEXT, "Server name in the ClientHello."),
    Field("client_hello.alpn", _LIST, "Protocols the client offers."),
    Field("client_hello.versions", _LIST, "TLS versions the client offers, as numbers (772 is TLS 1.3)."),
    Field("client_hello.ech", _FLAG, "The ClientHello carries Encrypted Client Hello, or GREASE in its shape."),
    Field("client_hello.ja3", _TEXT, "JA3 fingerprint."),
    Field("client_hello.ja4", _TEXT, "JA4 fingerprint."),
)


def _certificate(part: str) -> tuple[Field, ...]:
    return (
        Field(f"{part}.certificate.sha256", _TEXT, "Fingerprint of the certificate, hex."),
        Field(f"{part}.certificate.subject", _TEXT, "Its subject."),
        Field(f"{part}.certificate.issuer", _TEXT, "Its issuer."),
        Field(f"{part}.certificate.serial", _TEXT, "Its serial number."),
        Field(f"{part}.certificate.not_before", _TIME, "Start of its validity."),
        Field(f"{part}.certificate.not_after", _TIME, "End of its validity."),
        Field(f"{part}.certificate.names", _LIST, "Its names."),
    )


SURVEY = (
    Field("survey.verdict", _TEXT, "A look at the server, where a decryption rule asked for one: `ok`, or a reason word."),
    Field("survey.detail", _TEXT, "More on the verdict."),
    Field("survey.address", _IP, "The address that was looked at."),
    Field("survey.version", _TEXT, "TLS version of the look."),
    Field("survey.key", _TEXT, "Kind of the certificate's key: rsa, ec, ed25519, ed448, dsa, unknown."),
    Field("survey.asks_client_certificate", _FLAG, "The server asks for the client's certificate."),
    *_certificate("survey"),
)


def _tls(side: str, about: str) -> tuple[Field, ...]:
    return (
        Field(f"{side}.version", _TEXT, f"TLS version, {about}."),
        Field(f"{side}.cipher", _TEXT, f"Cipher suite, {about}."),
        Field(f"{side}.alpn", _TEXT, f"Protocol agreed on, {about}."),
        Field(f"{side}.sni", _TEXT, f"Server name, {about}."),
        Field(f"{side}.resumed", _FLAG, "The session was resumed."),
        Field(f"{side}.verify", _TEXT, "`ok`, or why verification failed, or would have."),
        Field(f"{side}.causes", _LIST, "Reason words of all faults that were found in the certificates."),
        Field(f"{side}.action", _TEXT, "What was done about them: block, warn, untrusted_ca, splice, allow, proceeded."),
        Field(f"{side}.rule", _TEXT, "The exception or setting that said so."),
        Field(f"{side}.revocation", _TEXT, "Whether the certificates have been taken back, and how that is known."),
        Field(f"{side}.completed", _FLAG, "The server did not send its whole chain; the rest was fetched."),
        Field(f"{side}.error", _TEXT, "Why the handshake failed."),
        Field(f"{side}.alert", _TEXT, "The alert that the other side ended it with, by its name in RFC 8446."),
        *_certificate(side),
        Field(f"{side}.chain_sha256", _LIST, "Fingerprints of the certificates sent, leaf first."),
    )


CLIENT_SIDE = (
    Field("client_tls.ca_sha256", _TEXT, "Fingerprint of the CA that signed the certificate shown to the client."),
    Field("client_tls.alert_sent", _TEXT, "The alert that the appliance ended it with."),
    Field("client_tls.trusts", _FLAG, "The client that refused the certificate has accepted others of the same CA."),
)

SERVER_SIDE = (
    Field("server_tls.asked_certificate", _FLAG, "The server asked for a certificate of the client."),
    Field("server_tls.presented_sha256", _TEXT, "Fingerprint of the client certificate that was presented."),
)

ESCAPE = (
    Field("escape.path", _LIST, "Every escaper walked, from the root to the leaf."),
    Field("escape.rules", _LIST, "The rule that chose, for each router."),
    Field("escape.next_hop", _TEXT, "Who was connected to: the server, or a parent proxy."),
    Field("escape.resolved_ip", _IP, "Address the name stood for."),
    Field("escape.local_addr", _TEXT, "Our address on that connection."),
    Field("escape.tries", _NUMBER, "Connects tried."),
    Field("escape.reused", _FLAG, "The connection was one that the same client had left idle (`kept_connections`)."),
    Field("escape.error", _TEXT, "Why the way out failed."),
)

SCANS = tuple(
    Field(f"scans.{name}", kind, about, array="scans")
    for name, kind, about in (
        ("service", _TEXT, "URI of the ICAP service."),
        ("method", _TEXT, "REQMOD or RESPMOD."),
        ("outcome", _TEXT, "clean, modified, blocked, error, bypassed, skipped."),
        ("reason", _TEXT, "Reason word, when it is not `ok`."),
        ("signature", _TEXT, "What the scanner found."),
        ("icap_status", _NUMBER, "ICAP status."),
        ("istag", _TEXT, "ISTag: changes with the database."),
        ("engine", _TEXT, "Scanner and database version."),
        ("ms", _NUMBER, "Milliseconds of the transaction."),
        ("size", _NUMBER, "Bytes scanned."),
        ("sha256", _TEXT, "SHA-256 of the body."),
        ("detail", _TEXT, "More, for a person."),
        ("headers", _LIST, "Headers of the verdict, a list of name and value."),
        ("scanners", _LIST, "What each scanner behind our own service said, with its milliseconds."),
        ("unscanned", _TEXT, "What of a body that passed the service did not look into: `encrypted`."),
        ("of", _TEXT, "message of a stream, or trailers; absent: a body."),
        ("cached", _FLAG, "The service was not asked: it is what it said of the same body before."),
        ("age_s", _NUMBER, "Seconds since then."),
        ("scan_ms", _NUMBER, "Milliseconds that it took then; `ms` is what looking it up took."),
    )
)

ACT = (
    Field("act.on", _TEXT, "What was acted on, in events of `kind: decision`: exclusion, ca, key, quarantine or retro."),
    Field("act.subject", _TEXT, "Which one: the exclusion's id, the CA's name, the id of a quarantined body, a tenant."),
    Field(
        "act.verb",
        _TEXT,
        "What was done: approved, rejected, removed, extended, added; rotated, switched, revoked; released, deleted, expired, "
        "displaced, ...",
    ),
    Field(
        "act.by", _TEXT, "Who: a person, or `policy`, `retest`, `expiry`, `quarantine` for what the appliance did by itself."
    ),
    Field("act.via", _TEXT, "By which door: web, command line, appliance. `source_ip` has the address, where there is one."),
    Field("act.note", _TEXT, "The reason that was given, or a detail."),
    Field("act.fingerprint", _TEXT, "The program that an exclusion is for; absent for every client."),
    Field("act.until", _TIME, "When an exclusion ends by itself."),
    Field("act.failed", _TEXT, "The act was announced and then came to nothing: why."),
)

RETRO = (
    Field("retro.sha256", _TEXT, "In events of `kind: retro`: the body that was delivered and is found bad (docs/retro.md)."),
    Field("retro.size", _NUMBER, "Its bytes, as they were scanned."),
    Field("retro.by", _TEXT, "What calls it bad: `list NAME`, or an ICAP service. `signature` has the name."),
    Field("retro.engine", _TEXT, "With which signatures."),
    Field("retro.deliveries", _NUMBER, "Flows that are known to have delivered it; this event lists those not told before."),
    Field("retro.first_at", _TIME, "When it was delivered first."),
    Field("retro.found_at", _TIME, "When it was found."),
    Field("retro.limits", _LIST, "Why its hash does not say everything: head_only, part, packed, modified, encrypted."),
    Field("flows.task", _TEXT, "In events of `kind: retro`: the audit record of a flow that delivered it.", array="flows"),
    Field("flows.at", _TIME, "When it ended.", array="flows"),
    Field("flows.side", _TEXT, "response, or request for an upload.", array="flows"),
    Field("flows.user", _TEXT, "Whose it was.", array="flows"),
    Field("flows.client", _TEXT, "The client's address.", array="flows"),
    Field("flows.host", _TEXT, "Where it came from.", array="flows"),
    Field("flows.url", _TEXT, "By which URL, masked as in its record.", array="flows"),
)

FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        *CORE,
        *DETAIL,
        *HELLO,
        *SURVEY,
        *_tls("client_tls", "between client and appliance"),
        *CLIENT_SIDE,
        *_tls("server_tls", "between appliance and server"),
        *SERVER_SIDE,
        *ESCAPE,
        *SCANS,
        *ACT,
        *RETRO,
    )
}

ALIASES = {
    "tenant": "tenant_id",
    "user": "user_id",
    "type": "event_type",
    "client": "source_ip",
    "client_ip": "source_ip",
    "src_ip": "source_ip",
    "ip": "source_ip",
    "host": "destination_host",
    "target_host": "destination_host",
    "port": "destination_port",
    "target_port": "destination_port",
    "response_code": "status",
    "block_reason": "reason",
    "virus": "signature",
    "time": "created_at",
    "duration": "duration_ms",
    "agent": "user_agent",
    "connection": "conn_id",
    "sni": "client_hello.sni",
    "ja3": "client_hello.ja3",
    "ja4": "client_hello.ja4",
    "forged_serial": "client_tls.certificate.serial",
    "forged_ca": "client_tls.ca_sha256",
    "alert": "client_tls.alert",
    "sha256": "scans.sha256",
}


def find_field(name: str) -> Field | None:
    """By name or alias; case does not matter."""
    key = name.lower()
    return FIELDS.get(ALIASES.get(key, key))


def markdown() -> str:
    """The tables of docs/audit.md."""
    rows = ["| field | kind | column | meaning |", "|---|---|---|---|"]
    for field in FIELDS.values():
        column = f"`{field.column}`" if field.column else ""
        name = field.name.replace(f"{field.array}.", f"{field.array}[].") if field.array else field.name
        rows.append(f"| `{name}` | {field.kind.value} | {column} | {field.about} |")
    return "\n".join(rows) + "\n"
