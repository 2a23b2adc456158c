"""The answers we give ourselves: a page for a person, text for a tool, JSON for a program; and the fields around them.

Everything that comes from outside is cut to a length and freed of characters that do not print before it is written
anywhere; the HTML form is escaped where it is put together (``markup``).
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from appliance.config.tenant import Tenant
from appliance.domain.decision import Action, Decision
from appliance.domain.ids import TenantId
from appliance.domain.notes import CertNotes, ConnNotes, TaskNotes
from appliance.domain.proceed import Offer
from appliance.domain.reason import Reason
from appliance.domain.target import Target, parse_ip
from appliance.domain.text import printable
from appliance.policy import markup, wording
from appliance.policy.accept import Form, negotiate
from appliance.policy.certificate_facts import certificate_rows, refused_certificate
from appliance.policy.location import is_safe
from appliance.policy.proxy_status import proxy_status

MAX_URL: Final = 500
MAX_TEXT: Final = 500
MAX_WORD: Final = 120
RETRY_AFTER: Final = 5
"""Seconds."""

DEFAULT_CHALLENGE: Final = 'Basic realm="Arcus", charset="UTF-8"'

_RETRY_STATUSES: Final = frozenset({429, 503})
_DIRECT: Final = frozenset({"", "http", "connect"})
_TUNNELLED: Final = frozenset({"https", "wss", "tcp", "socks"})


class Page(NamedTuple):
    """A complete response, without Content-Length and connection fields."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Content:
    """What every form of the page says. Printable text, not escaped."""

    reason: Reason
    rule: str
    level: str
    message: str
    request_id: str
    url: str
    signature: str
    time: str
    owner: str
    contact: str
    setup: str
    certificate: CertNotes | None = None
    """The server's, where something is wrong with it."""
    offer: Offer | None = None
    """What the button of a warning does."""

    def facts(self) -> Iterable[tuple[str, str]]:
        rows = (
            ("Address", self.url),
            ("Reason", self.reason.word),
            ("Rule", self.rule),
            ("Threat", self.signature),
            *certificate_rows(self.certificate),
            ("Request number", self.request_id),
            ("Time", self.time),
        )
        return [(name, value) for name, value in rows if value]


class PageMaker:
    """Pages for tasks that ended: which tenant's, for which reason, with whose challenge."""

    def __init__(
        self,
        tenants: Mapping[TenantId, Tenant],
        challenge: Callable[[ConnNotes], str],
        offer: Callable[[TaskNotes], Offer | None] = lambda _notes: None,
        portal: str = "",
    ) -> None:
        """``challenge`` gives the value of Proxy-Authenticate; it is asked only for a connection whose tenant is known.
        ``offer`` says whether a person may go on from this page, and how. ``portal``: the name of the appliance's own pages."""
        self._setup = f"http://{portal}/" if portal else ""
        self._tenants = dict(tenants)
        self._challenge = challenge
        self._offer = offer

    def page(self, notes: TaskNotes, accept: str = "") -> Page:
        """The page for ``notes.reason``, with the access decision's rule and message where that is what ended the task."""
        tenant_id, decision = notes.conn.tenant, notes.decision
        decided = decision is not None and not decision.allowed and notes.reason in (Reason.OK, decision.reason)
        outcome = decision if decided and decision is not None else notes.reason
        reason = outcome.reason if isinstance(outcome, Decision) else outcome
        challenge = self._challenge(notes.conn) if reason.status == 407 and tenant_id is not None else ""
        tenant = self._tenants.get(tenant_id) if tenant_id is not None else None
        return render(outcome, notes, tenant, accept=accept, challenge=challenge, offer=self._offer(notes), setup=self._setup)


def render(
    outcome: Decision | Reason,
    notes: TaskNotes,
    tenant: Tenant | None,
    *,
    accept: str = "",
    challenge: str = "",
    retry_after: int = RETRY_AFTER,
    offer: Offer | None = None,
    setup: str = "",
) -> Page:
    """The answer for a task that a decision or a failure ended.

    ``accept`` is the client's Accept field, ``challenge`` the value of Proxy-Authenticate, ``retry_after`` seconds for
    429 and 503, ``setup`` the address where a person learns how to set the device up. An outcome that allows has no page:
    INTERNAL_ERROR is answered, never a status that looks like success.
    """
    decision = outcome if isinstance(outcome, Decision) else Decision(Action.BLOCK, outcome)
    if decision.reason is Reason.OK or decision.allowed:
        decision = Decision(Action.BLOCK, Reason.INTERNAL_ERROR)
    status = _status(decision, notes)
    form = negotiate(accept)
    content = _content(decision, notes, tenant, offer if form is Form.HTML else None, setup)
    headers = (*_headers(content, form), *_special(status, decision, challenge, retry_after))
    return Page(status, headers, b"" if notes.method == "HEAD" else _body(content, form))


def _status(decision: Decision, notes: TaskNotes) -> int:
    if decision.action is Action.REDIRECT:
        return 302 if is_safe(decision.redirect_url) else 403
    status = decision.reason.status
    if status == 407 and not _may_challenge(notes):
        return 403
    return status if status >= 400 else 403


def _may_challenge(notes: TaskNotes) -> bool:
    """Whether the client knows that it speaks to a proxy. Inside TLS and on redirected connections it believes to speak
    to the site, which has no business asking for proxy credentials (RFC 9110 section 15.5.8)."""
    return notes.conn.protocol in _DIRECT and notes.scheme not in _TUNNELLED


def _content(decision: Decision, notes: TaskNotes, tenant: Tenant | None, offer: Offer | None, setup: str) -> _Content:
    branding = tenant.branding if tenant else None
    malware = decision.reason in (Reason.MALWARE_FOUND, Reason.ICAP_BLOCKED)
    signature = next((scan.signature for scan in reversed(notes.scans) if scan.signature), "") if malware else ""
    return _Content(
        reason=decision.reason,
        rule=printable(decision.rule, MAX_WORD),
        level=printable(decision.level, MAX_WORD),
        message=printable(decision.message, MAX_TEXT),
        request_id=_token(notes.task_id),
        url=printable(_url(notes), MAX_URL),
        signature=printable(signature, MAX_WORD),
        time=_time(notes.started),
        owner=printable(branding.title or (tenant.tenant_name if tenant else ""), MAX_WORD) if branding else "",
        contact=printable(branding.contact, MAX_TEXT) if branding else "",
        # whoever sees a page inside TLS has the CA installed
        setup="" if notes.scheme in ("https", "wss") else setup,
        certificate=refused_certificate(decision.reason, notes),
        offer=offer,
    )


def _url(notes: TaskNotes) -> str:
    if notes.target is None:
        return ""
    if notes.scheme not in ("http", "https", "ws", "wss"):
        return str(notes.target)
    default = 443 if notes.scheme in ("https", "wss") else 80
    authority = str(_shown(notes.target, notes.conn))
    return f"{notes.scheme}://{authority.removesuffix(f':{default}')}{notes.path}"


def _shown(target: Target, conn: ConnNotes) -> Target:
    """A person knows the name that the browser asked for, not the address that a transparent connection was going to."""
    name = conn.hello.sni if conn.hello else ""
    return Target(name, target.port) if name and parse_ip(target.host) else target


def _time(started: float) -> str:
    return datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if started > 0 else ""


def _token(text: str) -> str:
    """Only what can neither end a header line nor a quoted string."""
    return "".join(char for char in text[:MAX_WORD] if char.isascii() and (char.isalnum() or char in "-_."))


def _headers(content: _Content, form: Form) -> list[tuple[str, str]]:
    return [
        ("Content-Type", form.value),
        ("Cache-Control", "no-store"),
        ("Content-Security-Policy", markup.WARNING_SECURITY_POLICY if content.offer else markup.CONTENT_SECURITY_POLICY),
        ("X-Content-Type-Options", "nosniff"),
        # without a referrer a browser hides the origin of a form as well, and the button could be anybody's
        ("Referrer-Policy", "same-origin" if content.offer else "no-referrer"),
        ("X-Arcus-Reason", content.reason.word),
        ("X-Arcus-Request-Id", content.request_id),
        ("Proxy-Status", proxy_status(content.reason)),
    ]


def _special(status: int, decision: Decision, challenge: str, retry_after: int) -> list[tuple[str, str]]:
    if status == 407:
        return [("Proxy-Authenticate", challenge if _one_line(challenge) else DEFAULT_CHALLENGE)]
    if status == 302:
        return [("Location", decision.redirect_url)]
    if status in _RETRY_STATUSES:
        return [("Retry-After", str(max(1, retry_after)))]
    return []


def _one_line(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable()


def _body(content: _Content, form: Form) -> bytes:
    make = {Form.HTML: _html, Form.JSON: _json, Form.TEXT: _text}[form]
    return make(content).encode("utf-8", "replace")


def _html(content: _Content) -> str:
    reason = content.reason
    return markup.page(
        content.owner,
        wording.heading(reason),
        (reason.text, wording.advice(reason)),
        content.message,
        content.facts(),
        content.contact,
        content.request_id,
        _button(content.offer),
        content.setup,
    )


def _button(offer: Offer | None) -> tuple[str, str, str] | None:
    if offer is None:
        return None
    return f"{offer.path}?token={offer.token}", wording.PROCEED, wording.proceed_text(offer.seconds)


def _text(content: _Content) -> str:
    head = [content.owner, f"{wording.heading(content.reason)}: {content.reason.text}", content.message]
    rows = [f"{name}: {value}" for name, value in content.facts()]
    contact = [f"Contact: {content.contact}"] if content.contact else []
    setup = [f"{wording.SETUP}: {content.setup}"] if content.setup else []
    return "\n".join([*filter(None, head), "", *rows, *contact, *setup, ""])


def _json(content: _Content) -> str:
    value = {
        "reason": content.reason.word,
        "text": content.reason.text,
        "message": content.message,
        "rule": content.rule,
        "level": content.level,
        "request_id": content.request_id,
        "url": content.url,
        "signature": content.signature,
        "time": content.time,
        "tenant": content.owner,
        "contact": content.contact,
        "setup": content.setup,
        "certificate": dict(certificate_rows(content.certificate)),
    }
    # "<" is written as an escape: a client that takes JSON for HTML must find no element in it.
    return json.dumps({name: text for name, text in value.items() if text}).replace("<", "\\u003c") + "\n"
