"""Notes of tasks for the tests: one with everything in it, and small ones."""

from typing import Any

from appliance.domain.decision import Action, Decision, TlsAction, TlsDecision
from appliance.domain.facts import ClientFacts, HelloFacts, UserFacts
from appliance.domain.ids import TaskId, TenantId
from appliance.domain.notes import CertNotes, ConnNotes, EscapeNotes, TaskNotes, TlsNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.domain.upstream import UpstreamFacts
from appliance.domain.verdict import Outcome, ScanVerdict

START = 1_760_000_000.25


def certificate(name: str = "example.com") -> CertNotes:
    return CertNotes("a1" * 32, f"CN={name}", "CN=Some CA", "0f1e2d3c4b", START - 1e6, START + 1e6, (name, f"www.{name}"))


def tls(side: str) -> TlsNotes:
    return TlsNotes(
        "TLSv1.3",
        "TLS_AES_128_GCM_SHA256",
        "h2",
        "example.com",
        resumed=True,
        verify="ok",
        causes=("upstream_cert_expired",),
        action="allow",
        rule="old-printer",
        revocation="good (ocsp)",
        completed=True,
        error="tlsv1 alert unknown ca" if side == "client" else "tlsv13 alert certificate required",
        certificate=certificate(),
        chain_sha256=("b2" * 32, "c3" * 32),
        ca_sha256="d4" * 32 if side == "client" else "",
        alert_sent="close_notify" if side == "client" else "",
        client_trusts=side == "client",
        asked_certificate=side == "server",
        presented_sha256="e5" * 32 if side == "server" else "",
    )


def full_connection() -> ConnNotes:
    return ConnNotes(
        ClientFacts("10.0.0.7", 51_234, "http-in", "10.0.0.1", 8080),
        started=START - 1,
        protocol="connect",
        tenant=TenantId("acme"),
        tenant_method="network",
        tenant_detail="10.0.0.0/8",
        user=UserFacts("alice", "staff"),
        tunnel=Target("example.com", 443),
        original_dst="93.184.216.34:443",
        hello=HelloFacts(
            "example.com",
            ("h2", "http/1.1"),
            (772, 771),
            has_ech=True,
            ja3="d" * 32,
            ja4="t13d1516h2_8daaf6152771_e5627efa2ab1",
        ),
        tls_decision=TlsDecision(
            TlsAction.INTERCEPT, "inspect-all", "company policy", would=("try: block",), staged=("new: in 25%",)
        ),
        upstream=UpstreamFacts(
            detail="fine",
            certificate=tls("server").certificate,
            key_type="ec",
            version="TLSv1.3",
            address="192.0.2.1",
            asks_client_certificate=True,
        ),
        client_tls=tls("client"),
        server_tls=tls("server"),
        mismatches=["sni: b.test, not a.test"],
        requests=3,
        bytes_in=900,
        bytes_out=70_000,
        events=["tenant_header_ignored"],
    )


def _scans() -> list[ScanVerdict]:
    return [
        ScanVerdict(
            "icap://127.0.0.1:1344/reqmod",
            "REQMOD",
            Outcome.CLEAN,
            icap_status=204,
            istag="W3E4",
            engine="ClamAV 1.4/27000",
            ms=1.25,
            size=1000,
            of="message",
        ),
        ScanVerdict(
            "icap://127.0.0.1:1344/respmod",
            "RESPMOD",
            Outcome.BLOCKED,
            Reason.MALWARE_FOUND,
            "Eicar-Test-Signature",
            200,
            "W3E4",
            "ClamAV 1.4.2/27511",
            8.5,
            20_000,
            "d4" * 32,
            "first part",
            (("X-Infection-Found", "Type=0; Resolution=2; Threat=Eicar;"),),
            ("clamd infected 8.1 ms, Eicar",),
            "encrypted",
            True,
            True,
            12.0,
            8.5,
        ),
    ]


def full_task(**changes: Any) -> TaskNotes:
    """Every field that can be filled is filled."""
    notes = TaskNotes(
        full_connection(),
        kind="request",
        started=START,
        ended=START + 0.125,
        stage="finished",
        target=Target("example.com", 443),
        scheme="https",
        method="POST",
        path="/upload?name=a&token=abc",
        http_version="HTTP/2.0",
        user_agent="Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
        referer="https://example.com/form?code=123",
        request_type="application/json",
        response_type="text/html",
        status=403,
        upstream_status=200,
        request_bytes=1_000,
        response_bytes=20_000,
        decision=Decision(Action.ALLOW, rule="allow-web", level="tenant", applied=("tenant:acme", "user:alice", "allow-web")),
        reason=Reason.MALWARE_FOUND,
        detail="in the response",
        escaper="root",
        escape=EscapeNotes(
            ("root", "direct"),
            ("root: default",),
            "93.184.216.34:443",
            "93.184.216.34",
            "10.0.0.1:40000",
            2,
            True,
            "first address refused",
        ),
        not_scanned=["response: streamed"],
        scanned_bytes={"request": 1000},
        unscanned_bytes={"response: streamed": 5},
        packed=["request"],
        samples={"request": "0" * 32, "response": "not kept: busy"},
        quarantine="01m7zwxrg5thfb6zkjb95vm63v",
        websocket_frames=(4, 5),
    )
    notes.scans = _scans()
    notes.steps = {"dns": 1.5, "connect": 2.5, "tls": 10.0, "request_scan": 1.25, "wait": 20.0, "response_scan": 8.5}
    for name, value in changes.items():
        setattr(notes, name, value)
    return notes


def task(task_id: str = "", **changes: Any) -> TaskNotes:
    """A small one: a page was fetched."""
    conn = ConnNotes(ClientFacts("10.0.0.7", 51_234, "http-in"), tenant=TenantId("acme"))
    notes = TaskNotes(
        conn,
        started=START,
        ended=START + 0.1,
        target=Target("example.com", 80),
        scheme="http",
        method="GET",
        path="/",
        status=200,
    )
    if task_id:
        notes.task_id = TaskId(task_id)
    for name, value in changes.items():
        setattr(notes, name, value)
    return notes
