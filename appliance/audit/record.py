"""TaskNotes become one event: flat where it is filtered, structured where it is read.

Fields that are empty are left out, except the ones that every event has. docs/audit.md names them all, and a test
fails for a field that is not there. Everything that a client, a server or a scanner wrote goes through ``printable``.
"""

from functools import lru_cache
from typing import Any

from appliance.audit.mask import Masker
from appliance.audit.outcome import action_of, event_type_of
from appliance.domain.coverage import coverage
from appliance.domain.ech import ech_of
from appliance.domain.facts import HelloFacts
from appliance.domain.notes import CertNotes, ConnNotes, EscapeNotes, TaskNotes, TlsNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.domain.text import printable
from appliance.domain.tls_failure import alert_in, failure_of
from appliance.domain.upstream import UpstreamFacts
from appliance.domain.verdict import ScanVerdict

type Event = dict[str, Any]

WORD = 128
LINE = 512
LIST = 32
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


def to_event(notes: TaskNotes, masker: Masker) -> Event:
    """The event of a finished task. Times are seconds since the epoch, durations milliseconds, sizes bytes."""
    return task_parts(notes, masker) | course_parts(notes) | tls_parts(notes.conn)


def task_parts(notes: TaskNotes, masker: Masker) -> Event:
    """All of the event but what ``course_parts`` and ``tls_parts`` give. Fields that are mostly empty are asked for one by one:
    this is made for each request."""
    event = _always(notes, masker)
    _message(event, notes, masker)
    _outcome(event, notes)
    _connection(event, notes.conn)
    _way(event, notes)
    return event


def course_parts(notes: TaskNotes) -> Event:
    """How the client came, and what was decided: the same for most tasks of a client."""
    conn = notes.conn
    event: Event = {
        "user_group": conn.user.group if conn.user else "",
        "tenant_method": conn.tenant_method,
        "tenant_detail": printable(conn.tenant_detail, LINE),
        "listen_ip": conn.client.listen_ip,
        "listen_port": conn.client.listen_port,
        "protocol": conn.protocol,
        "tunnel": str(conn.tunnel) if conn.tunnel else "",
        "original_dst": printable(conn.original_dst, WORD),
        "would": [printable(text, LINE) for text in _would(notes)[:LIST]],
    }
    if decision := notes.decision or conn.tunnel_decision:
        event["decision"] = decision.action.value
        event["level"] = decision.level
        event["policies"] = [printable(name, LINE) for name in decision.applied[:LIST]]
    if conn.tls_decision:
        event["decrypt"] = conn.tls_decision.action.value
        event["decrypt_rule"] = printable(conn.tls_decision.rule, LINE)
        event["decrypt_text"] = printable(conn.tls_decision.text, LINE)
        event["staged"] = [printable(text, LINE) for text in conn.tls_decision.staged[:LIST]]
    return _filled(event)


def tls_parts(conn: ConnNotes) -> Event:
    """The TLS of the client connection: the same for all its tasks."""
    parts: Event = {}
    if conn.hello:
        parts["client_hello"] = _hello(conn.hello)
    if conn.client_tls:
        parts["client_tls"] = _tls(conn.client_tls)
    if conn.upstream:
        parts["survey"] = _survey(conn.upstream)
    if conn.server_tls:
        parts["server_tls"] = _tls(conn.server_tls)
    return _filled(parts)


def _always(notes: TaskNotes, masker: Masker) -> Event:
    conn = notes.conn
    client = conn.client
    target = notes.target or conn.tunnel
    action = action_of(notes)
    return {
        "id": notes.task_id,
        "conn_id": conn.conn_id,
        "tenant_id": conn.tenant or "",
        "user_id": printable(conn.user.name, WORD) if conn.user else "",
        "event_type": event_type_of(notes),
        "kind": notes.kind,
        "source_ip": client.ip,
        "source_port": client.port,
        "server": client.server,
        "destination_host": target.host if target else "",
        "destination_port": target.port if target else 0,
        "method": printable(notes.method, 32),
        "url": _url(notes, target, masker),
        "user_agent": printable(notes.user_agent, LINE),
        "status": notes.status,
        "bytes_sent": notes.response_bytes,
        "bytes_received": notes.request_bytes,
        "duration_ms": round(max(0.0, notes.ended - notes.started) * 1000, 3),
        "blocked": action != "allow" and action != "fail",
        "action": action,
        "reason": notes.reason.word,
        "rule": printable(_rule(notes), LINE),
        "stage": notes.stage,
        "started_at": round(notes.started, 6),
        "created_at": round(notes.ended, 6),
    }


def _url(notes: TaskNotes, target: Target | None, masker: Masker) -> str:
    path = masker.url(notes.path) if notes.path else ""
    if target is None or (not path.startswith("/") and "://" in path):
        return path
    if notes.scheme not in _DEFAULT_PORTS:
        return f"{target}{path}"
    if _DEFAULT_PORTS[notes.scheme] == target.port:
        host = f"[{target.host}]" if ":" in target.host else target.host
        return f"{notes.scheme}://{host}{path}"
    return f"{notes.scheme}://{target}{path}"


def _rule(notes: TaskNotes) -> str:
    """The rule that decided how the task ended."""
    conn = notes.conn
    decision = notes.decision or conn.tunnel_decision
    if notes.reason is Reason.DECRYPT_BLOCKED and conn.tls_decision and (not decision or decision.reason is not notes.reason):
        return conn.tls_decision.rule
    if notes.reason in (Reason.DENIED_BY_ESCAPER, Reason.NO_ESCAPER) and notes.escape and notes.escape.rules:
        return notes.escape.rules[-1]
    return decision.rule if decision else ""


def _message(event: Event, notes: TaskNotes, masker: Masker) -> None:
    if notes.scheme:
        event["scheme"] = notes.scheme
    if notes.http_version:
        event["http_version"] = printable(notes.http_version, 16)
    if notes.referer and (referer := masker.url(notes.referer, 2048)):
        event["referer"] = referer
    if notes.request_type:
        event["request_type"] = printable(notes.request_type, WORD)
    if notes.response_type:
        event["response_type"] = printable(notes.response_type, WORD)
    if notes.upstream_status:
        event["upstream_status"] = notes.upstream_status
    if any(notes.websocket_frames):
        event["websocket_frames"] = list(notes.websocket_frames)


def _outcome(event: Event, notes: TaskNotes) -> None:
    event["reason_source"] = notes.reason.source._value_
    if notes.detail:
        event["detail"] = printable(notes.detail, LINE)
    if notes.scans and (signature := next((scan.signature for scan in notes.scans if scan.signature), "")):
        event["signature"] = printable(signature, LINE)
    if ech := ech_of(notes):
        event["tls_ech"] = ech
    if (failed := failure_of(notes)) is not None:
        event["tls_failure"], event["tls_failure_side"] = failed.category.value, failed.side
    if notes.mismatches or notes.conn.mismatches:
        event["mismatches"] = [printable(text, LINE) for text in (*notes.conn.mismatches, *notes.mismatches)[:LIST]]


def _would(notes: TaskNotes) -> list[str]:
    """What rules in monitor mode would have done, by the policy they belong to."""
    decision, tls = notes.decision or notes.conn.tunnel_decision, notes.conn.tls_decision
    found = [f"access {text}" for text in decision.would] if decision else []
    return [*found, *(f"decrypt {text}" for text in tls.would)] if tls else found


def _connection(event: Event, conn: ConnNotes) -> None:
    if started := round(conn.started, 6):
        event["conn_started_at"] = started
    if conn.requests:
        event["conn_requests"] = conn.requests
    if conn.bytes_in:
        event["conn_bytes_received"] = conn.bytes_in
    if conn.bytes_out:
        event["conn_bytes_sent"] = conn.bytes_out
    if conn.events:
        event["events"] = [printable(text, LINE) for text in conn.events[:LIST]]


def _way(event: Event, notes: TaskNotes) -> None:
    if notes.escaper:
        event["escaper"] = notes.escaper
    if notes.escape and (escape := _escape(notes.escape)):
        event["escape"] = escape
    if notes.scans:
        event["scans"] = [_scan(scan) for scan in notes.scans[:LIST]]
    if notes.not_scanned:
        event["not_scanned"] = notes.not_scanned[:LIST]
    if notes.scanned_bytes:
        event["scanned_bytes"] = notes.scanned_bytes
    if notes.unscanned_bytes:
        event["unscanned_bytes"] = notes.unscanned_bytes
    if covered := coverage(notes):
        event["coverage"] = covered
    if notes.packed:
        event["packed"] = notes.packed
    if notes.samples:
        event["samples"] = notes.samples
    if notes.quarantine:
        event["quarantine"] = notes.quarantine
    if notes.steps:
        event["steps"] = notes.steps


def _filled(values: Event) -> Event:
    return {name: value for name, value in values.items() if value}


def _hello(hello: HelloFacts) -> Event:
    return _filled(
        {
            "sni": printable(hello.sni, LINE),
            "alpn": [printable(name, WORD) for name in hello.alpn[:LIST]],
            "versions": hello.versions[:LIST],
            "ech": hello.has_ech,
            "ja3": hello.ja3,
            "ja4": hello.ja4,
        }
    )


def _tls(tls: TlsNotes) -> Event:
    return _filled(
        {
            "version": tls.version,
            "cipher": tls.cipher,
            "alpn": printable(tls.alpn, WORD),
            "sni": printable(tls.sni, LINE),
            "resumed": tls.resumed,
            "verify": printable(tls.verify, LINE),
            "causes": tls.causes[:LIST],
            "action": tls.action,
            "rule": tls.rule,
            "revocation": printable(tls.revocation, LINE),
            "completed": tls.completed,
            "error": printable(tls.error, LINE),
            "certificate": _certificate(tls.certificate) if tls.certificate else None,
            "chain_sha256": tls.chain_sha256[:LIST],
            "alert": alert_in(tls.error),
            "alert_sent": tls.alert_sent,
            "ca_sha256": tls.ca_sha256,
            "trusts": tls.client_trusts,
            "asked_certificate": tls.asked_certificate,
            "presented_sha256": tls.presented_sha256,
        }
    )


def _survey(seen: UpstreamFacts) -> Event:
    return _filled(
        {
            "verdict": seen.reason.word,
            "detail": printable(seen.detail, LINE),
            "address": seen.address,
            "version": seen.version,
            "key": seen.key_type,
            "asks_client_certificate": seen.asks_client_certificate,
            "certificate": _certificate(seen.certificate) if seen.certificate else None,
        }
    )


@lru_cache(maxsize=2048)
def _certificate(cert: CertNotes) -> Event:
    # seen with each task of a connection, and with each connection to the same server
    return _filled(
        {
            "sha256": cert.sha256,
            "subject": printable(cert.subject, LINE),
            "issuer": printable(cert.issuer, LINE),
            "serial": cert.serial,
            "not_before": cert.not_before,
            "not_after": cert.not_after,
            "names": [printable(name, 256) for name in cert.names[:LIST]],
        }
    )


def _escape(escape: EscapeNotes) -> Event:
    return _filled(
        {
            "path": escape.path,
            "rules": [printable(rule, LINE) for rule in escape.rules],
            "next_hop": escape.next_hop,
            "resolved_ip": escape.resolved_ip,
            "local_addr": escape.local_addr,
            "tries": escape.tries,
            "reused": escape.reused,
            "error": printable(escape.error, LINE),
        }
    )


def _scan(scan: ScanVerdict) -> Event:
    return _filled(
        {
            "service": printable(scan.service, LINE),
            "method": scan.method,
            "outcome": scan.outcome.value,
            "reason": scan.reason.word if scan.reason is not Reason.OK else "",
            "signature": printable(scan.signature, LINE),
            "icap_status": scan.icap_status,
            "istag": printable(scan.istag, WORD),
            "engine": printable(scan.engine, LINE),
            "ms": round(scan.ms, 3),
            "size": scan.size,
            "sha256": scan.sha256,
            "detail": printable(scan.detail, LINE),
            "headers": [[printable(name, WORD), printable(value, LINE)] for name, value in scan.headers[:LIST]],
            "scanners": [printable(line, LINE) for line in scan.scanners[:LIST]],
            "unscanned": printable(scan.unscanned, LINE),
            "of": scan.of,
            "cached": scan.cached,
            "age_s": round(scan.age, 3),
            "scan_ms": round(scan.scan_ms, 3),
        }
    )
