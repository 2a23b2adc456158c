"""Encrypted Client Hello (RFC 9849): what can be known of it, and what is done about it.

A ClientHello with the extension may hide another name than the one it shows, or it may be GREASE (section 6.2): noise of the
same shape, which browsers send to every server. On the wire nobody can tell them apart. What the client does next can:
we have no key for ECH, so the server that it meets in us has not accepted it. A client that meant it then checks our
certificate for the public name, ends the connection with ``ech_required``, and, as we send no other keys, comes back without
ECH (section 6.1.6). One that sent GREASE goes on. So interception needs nothing hidden: it sees the real name in the end.
"""

from dataclasses import replace
from typing import Literal

from appliance.domain.decision import TlsAction, TlsDecision
from appliance.domain.facts import HelloFacts
from appliance.domain.notes import TaskNotes
from appliance.domain.tls_failure import alert_in

type EchMode = Literal["allow", "intercept", "block"]

RULE = "ech"
WORDS = ("offered", "grease", "fallback")


def judge(decision: TlsDecision, hello: HelloFacts, mode: EchMode) -> TlsDecision:
    """The rules' decision on the name that is shown, in view of a name that may be hidden."""
    if not hello.has_ech or mode == "allow" or decision.action is TlsAction.BLOCK:
        return decision
    if mode == "block":
        # without a page: a client that means it would not show one under the public name
        return replace(decision, action=TlsAction.BLOCK, rule=RULE, text="Encrypted Client Hello is not allowed", page=False)
    if decision.action is not TlsAction.SPLICE:
        return decision
    return replace(decision, action=TlsAction.INTERCEPT, rule=RULE, text="spliced, it could hide another name")


def ech_of(notes: TaskNotes) -> str:
    """One of WORDS for the audit record; empty when the ClientHello had no ECH.

    ``fallback``: it was meant, and the client comes back without. ``grease``: the client sent a request under the name that it
    showed, which one that meant it never does. ``offered``: not known, as for everything that is not intercepted.
    """
    conn = notes.conn
    if conn.hello is None or not conn.hello.has_ech:
        return ""
    if conn.client_tls is not None and alert_in(conn.client_tls.error) == "ech_required":
        return "fallback"
    intercepted = conn.client_tls is not None and bool(conn.client_tls.version)
    return "grease" if intercepted and notes.kind in ("request", "websocket") else "offered"
