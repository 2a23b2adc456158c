"""The page of a download: one file, one inline style sheet, no script; it loads itself again by the Refresh field."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from appliance.domain.text import printable
from appliance.patience.view import Headers, Page, State, View
from appliance.policy import markup
from appliance.policy.accept import Form, negotiate

MAX_URL: Final = 300
_STYLE: Final = (
    markup.STYLE
    + """main{border-top-color:var(--link)}
progress{width:100%;height:1rem;accent-color:var(--link)}
.count{color:var(--soft);font-size:.9rem;font-variant-numeric:tabular-nums}
"""
)
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{_HASH}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No script runs (default-src). But a sandbox without allow-scripts is one in which no page refreshes itself either
        # (HTML, "sandboxed automatic features").
        "sandbox allow-scripts allow-downloads allow-top-navigation-by-user-activation",
    )
)
_TEXTS: Final = {
    State.RECEIVING: ("Your download is on its way", "It is being received and scanned. You get it when it is clean."),
    State.SCANNING: ("Your download is being scanned", "It has been received. You get it when it is clean."),
    State.READY: ("Your download is clean", "The file is being handed over. If nothing happens, use the link."),
    State.STOPPED: ("Your download was stopped", "The file is not delivered."),
    State.OVER: ("This download is over", "It was fetched, or nobody has waited for it. Load it from the start."),
}
LOST: Final = (
    "This download was lost",
    "The appliance does not have the file any more. Nothing is wrong with it: load it from the start.",
)
_STATUS: Final = {State.RECEIVING: 202, State.SCANNING: 202, State.READY: 200, State.STOPPED: 403, State.OVER: 410}


@dataclass(frozen=True, slots=True)
class Frame:
    """Around a page. ``here`` and ``file``: the addresses of the page and of the file; ``back``: the original's."""

    owner: str
    contact: str
    here: str
    file: str
    back: str
    refresh: int


def progress_page(view: View, frame: Frame, accept: str) -> Page:
    """By the form that the client wants: JSON for scripts, else the page."""
    if negotiate(accept) is Form.JSON:
        return Page(_STATUS[view.state], _headers(Form.JSON), _json(view, frame))
    texts = _TEXTS[view.state]
    again = {State.READY: f"0;url={frame.file}", State.OVER: "", State.STOPPED: ""}.get(
        view.state, f"{frame.refresh};url={frame.here}"
    )
    link = (frame.file, "Save the file") if view.state is State.READY else None
    if view.state in (State.OVER, State.STOPPED):
        link = (frame.back, "Load it again")
    body = _html(texts, _bar(view), [("File", view.name), ("Address", printable(view.url, MAX_URL))], link, frame)
    return Page(_STATUS[view.state], (*_headers(Form.HTML), *((("Refresh", again),) if again else ())), body)


def lost_page(frame: Frame, accept: str) -> Page:
    """Nobody knows of the download any more."""
    if negotiate(accept) is Form.JSON:
        return Page(503, _headers(Form.JSON), json.dumps({"state": "lost", "again": frame.back}).encode())
    return Page(503, _headers(Form.HTML), _html(LOST, "", [], (frame.back, "Load it again"), frame))


def _headers(form: Form) -> Headers:
    return (
        ("Content-Type", form.value),
        ("Cache-Control", "no-store"),
        ("Content-Security-Policy", _POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),  # the address of the page is a secret of its client
        ("Cross-Origin-Resource-Policy", "same-origin"),
    )


def _json(view: View, frame: Frame) -> bytes:
    value = {
        "state": view.state.value,
        "received": view.received,
        "total": view.total,
        "name": view.name,
        "reason": view.reason.word,
        "page": frame.here,
        "file": frame.file if view.state is State.READY else None,
    }
    # "<" is written as an escape: a client that takes JSON for HTML must find no element in it.
    return json.dumps(value).replace("<", "\\u003c").encode() + b"\n"


def _bar(view: View) -> str:
    if view.state in (State.STOPPED, State.OVER):
        return ""
    if view.state is State.RECEIVING and view.total:
        share = min(100, view.received * 100 // view.total)
        text = f"{_size(view.received)} of {_size(view.total)}, {share} %"
        return f'<progress max="100" value="{share}">{share} %</progress>\n<p class="count">{text}</p>\n'
    done = ' max="1" value="1"' if view.state is State.READY else ""
    return f'<progress{done}></progress>\n<p class="count">{_size(view.received)}</p>\n'


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _html(
    texts: tuple[str, str], bar: str, facts: Sequence[tuple[str, str]], link: tuple[str, str] | None, frame: Frame
) -> bytes:
    heading, text = (escape(each) for each in texts)
    rows = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    owner = f'<p class="owner">{escape(frame.owner)}</p>\n' if frame.owner else ""
    action = f'<p><a href="{escape(link[0])}">{escape(link[1])}</a></p>\n' if link else ""
    contact = f'<p class="contact">Contact: {escape(frame.contact)}</p>\n' if frame.contact else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{heading}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{owner}<h1>{heading}</h1>
<p role="status">{text}</p>
{bar}{action}{f"<dl>{rows}</dl>" if rows else ""}
{contact}</main>
</body>
</html>
""".encode("utf-8", "replace")
