"""One event as sections of a page. Every field of it is shown: those that no section names come last."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from appliance.audit.fields import FIELDS, Kind, find_field
from appliance.web.show import path_segment, plain, search_link, value_of

type Event = Mapping[str, Any]

_TLS = (
    "version", "cipher", "alpn", "sni", "resumed", "verify", "causes", "action", "rule", "completed", "revocation", "error",
    "alert", "chain_sha256",
)  # fmt: skip
_CERTIFICATE = ("subject", "issuer", "names", "not_before", "not_after", "serial", "sha256")

LAYOUT: dict[str, tuple[str, ...]] = {
    "Who": (
        "tenant_id", "tenant_method", "tenant_detail", "user_id", "user_group", "source_ip", "source_port", "user_agent",
        "client_hello.ja3", "client_hello.ja4",
    ),
    "Where": (
        "destination_host", "destination_port", "method", "url", "scheme", "http_version", "tunnel", "original_dst", "referer",
        "kind", "server", "listen_ip", "listen_port", "protocol",
    ),
    "Decision": (
        "action", "blocked", "reason", "reason_source", "detail", "signature", "rule", "decision", "level", "policies",
        "event_type", "stage", "events", "mismatches",
    ),
    "Act": tuple(f"act.{name}" for name in ("on", "subject", "verb", "by", "via", "note", "fingerprint", "until", "failed")),
    "Retro-hunt": tuple(
        f"retro.{name}" for name in ("sha256", "size", "by", "engine", "deliveries", "first_at", "found_at", "limits")
    ),
    "Answer": (
        "status", "upstream_status", "request_type", "response_type", "bytes_received", "bytes_sent", "websocket_frames",
        "duration_ms", "started_at", "created_at",
    ),
    "Decryption": (
        "decrypt", "decrypt_rule", "decrypt_text", "staged", "would", "client_hello.sni", "client_hello.alpn",
        "client_hello.versions", "client_hello.ech", "tls_ech", "tls_failure", "tls_failure_side",
    ),
    "TLS with the client": (*(f"client_tls.{name}" for name in _TLS), "client_tls.alert_sent", "client_tls.trusts"),
    "TLS with the server": (
        *(f"server_tls.{name}" for name in _TLS), "server_tls.asked_certificate", "server_tls.presented_sha256",
    ),
    "A look at the server": (
        *(f"survey.{name}" for name in ("verdict", "detail", "address", "version", "key", "asks_client_certificate")),
        *(f"survey.certificate.{name}" for name in _CERTIFICATE),
    ),
    "Certificate shown to the client": (
        *(f"client_tls.certificate.{name}" for name in _CERTIFICATE), "client_tls.ca_sha256",
    ),
    "Certificate of the server": tuple(f"server_tls.certificate.{name}" for name in _CERTIFICATE),
    "Way out": (
        "escaper", "escape.path", "escape.rules", "escape.next_hop", "escape.resolved_ip", "escape.local_addr", "escape.tries",
        "escape.reused", "escape.error",
    ),
    "Connection": (
        "id", "conn_id", "conn_started_at", "conn_requests", "conn_bytes_received", "conn_bytes_sent", "not_scanned",
        "scanned_bytes", "unscanned_bytes", "packed", "samples.request", "samples.response", "quarantine", "coverage",
    ),
}  # fmt: skip
SCAN = (
    "outcome", "signature", "engine", "istag", "ms", "cached", "age_s", "scan_ms", "method", "service", "icap_status", "reason",
    "size", "sha256", "of", "unscanned", "scanners", "detail", "headers",
)  # fmt: skip
STEPS = {
    "task": "From the start of the task to its end.",
    "connect": "Reaching the server, the whole way out.",
    "server_tls": "TLS with the server.",
    "client_tls": "From accepting the connection to the end of its TLS handshake.",
    "request": "Reading the request.",
    "icap_reqmod": "The request at the ICAP service.",
    "wait": "From the end of the request to the start of the answer.",
    "response": "Reading the answer.",
    "icap_respmod": "The answer at the ICAP service.",
}
FLOW = ("at", "side", "user", "client", "host", "url", "task")
_DRAWN = frozenset({"steps", "scans", "flows"})
_WHOLE = frozenset(name for name, field in FIELDS.items() if field.kind is Kind.MAP)
"""Fields whose parts have names of their own making: a row has all of them."""


@dataclass(frozen=True, slots=True)
class Row:
    """``about``: what the field means. ``link``: where the events with the same value are; may be empty."""

    name: str
    value: str
    about: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """``width`` in percent of the longest bar."""

    name: str
    ms: float
    width: float
    about: str


def sections(event: Event) -> list[Section]:
    """The sections that have something in them."""
    values = dict(_flat(event))
    found = []
    for title, names in LAYOUT.items():
        rows = tuple(_row(name, values.pop(name)) for name in names if name in values)
        if rows:
            found.append(Section(title, rows))
    rest = tuple(_row(name, value) for name, value in values.items() if name not in _DRAWN)
    return [*found, Section("More", rest)] if rest else found


def scans(event: Event) -> list[Section]:
    """One for each ICAP transaction, in order."""
    items = event.get("scans")
    return [_scan(item) for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []


def flows(event: Event) -> list[Section]:
    """One for each flow that an alert lists."""
    items = event.get("flows")
    return [_flow_of(item) for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []


def bars(event: Event) -> list[Bar]:
    """The whole task and its steps, in the order in which a request takes them. They overlap, so each starts at zero."""
    steps = event.get("steps")
    times = {str(name): float(ms) for name, ms in steps.items() if _is_time(ms)} if isinstance(steps, Mapping) else {}
    if not times:
        return []
    total = event.get("duration_ms")
    whole = {"task": float(total)} if isinstance(total, int | float) and _is_time(total) else {}
    ordered = whole | {name: times[name] for name in (*STEPS, *times) if name in times}
    longest = max(ordered.values()) or 1.0
    return [Bar(name, ms, round(100 * ms / longest, 3), STEPS.get(name, "")) for name, ms in ordered.items()]


def _is_time(value: object) -> bool:
    """Within a year: a picture of anything else says nothing."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 3.2e10


def _flat(event: Event, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in event.items():
        if isinstance(value, Mapping) and prefix + name not in _WHOLE:
            yield from _flat(value, f"{prefix}{name}.")
        elif value not in ("", None, []) and (prefix or name not in _DRAWN):
            yield f"{prefix}{name}", value


def _scan(scan: Event) -> Section:
    names = [*SCAN, *(name for name in scan if name not in SCAN)]
    rows = tuple(_row(f"scans.{name}", scan[name], name) for name in names if scan.get(name) not in (None, "", []))
    return Section(str(scan.get("method") or "ICAP"), rows)


def _flow_of(flow: Event) -> Section:
    names = [*FLOW, *(name for name in flow if name not in FLOW)]
    rows = [_row(f"flows.{name}", flow[name], name) for name in names if flow.get(name) not in (None, "", [])]
    task = plain(flow.get("task") or "")
    return Section(
        task, tuple(replace(row, link=f"/audit/{path_segment(task)}") if row.name == "task" else row for row in rows)
    )


def _row(name: str, value: object, label: str = "") -> Row:
    field = find_field(name)
    return Row(label or name, value_of(name, value), field.about.replace("`", "") if field else "", search_link(name, value))
