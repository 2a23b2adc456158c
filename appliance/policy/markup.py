"""The block page as HTML: one file, one inline style sheet, no script, nothing loaded from anywhere."""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final
from urllib.parse import quote

from appliance.policy.wording import SETUP

_MAIL: Final = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,253}\Z")
_LINK: Final = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&*+,;=%-]{1,500}\Z")

STYLE: Final = """
:root{color-scheme:light dark;--ground:#f4f5f7;--sheet:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d5dae0;--mark:#b3261e;
--link:#0b57d0}
@media (prefers-color-scheme:dark){:root{--ground:#111418;--sheet:#1a1f25;--ink:#e8eaed;--soft:#a3adb8;--line:#343b44;
--mark:#ff8a80;--link:#8ab4f8}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:flex;align-items:center;justify-content:center;padding:1.5rem;background:var(--ground);
color:var(--ink);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{width:100%;max-width:40rem;background:var(--sheet);border:1px solid var(--line);border-top:.3rem solid var(--mark);
border-radius:.6rem;padding:2rem}
.owner{margin:0 0 .4rem;color:var(--soft);font-size:.9rem}
h1{margin:0 0 1rem;font-size:1.6rem;line-height:1.25}
p{margin:0 0 1rem}
.message{border-left:.2rem solid var(--mark);padding:.1rem 0 .1rem .9rem;font-weight:600}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.4rem 1.2rem;margin:1.5rem 0;padding:1rem 0;border:solid var(--line);
border-width:1px 0;font-size:.9rem}
dl:last-child{margin-bottom:0;padding-bottom:0;border-bottom:0}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere;font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
a{color:var(--link)}
.contact{margin:0}
.setup{margin:.6rem 0 0;font-size:.9rem}
form{margin:0 0 1rem}
button{font:inherit;padding:.5rem 1rem;border:1px solid var(--line);border-radius:.4rem;background:none;color:var(--soft);
cursor:pointer}
button:hover,button:focus{color:var(--mark);border-color:var(--mark)}
@media (max-width:32rem){main{padding:1.25rem}dl{grid-template-columns:1fr;gap:.1rem}dd{margin-bottom:.5rem}}
@media print{body{display:block;background:none}main{border:0}}
"""

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()


def _content_security_policy(form_action: str, sandbox: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src 'sha256-{_STYLE_HASH}'",
            "base-uri 'none'",
            f"form-action {form_action}",
            "frame-ancestors 'none'",
            f"sandbox {sandbox}allow-popups allow-top-navigation-by-user-activation allow-top-navigation-to-custom-protocols",
        )
    )


CONTENT_SECURITY_POLICY: Final = _content_security_policy("'none'", "")
"""The hash allows this style sheet and no other. ``sandbox``: the page is shown under the blocked site's name, and must
not count as that site, whatever somebody manages to write into it; the contact link still works."""
WARNING_SECURITY_POLICY: Final = _content_security_policy("'self'", "allow-forms allow-same-origin ")
"""Of a page with a button: its form is sent to the site's own origin, and has to say that it comes from there (otherwise
any other site could send it). There is no script either way."""


def page(
    owner: str,
    heading: str,
    texts: Sequence[str],
    message: str,
    facts: Iterable[tuple[str, str]],
    contact: str,
    request_id: str,
    button: tuple[str, str, str] | None = None,
    setup: str = "",
) -> str:
    """All arguments are plain text; each is escaped here, and nowhere else. ``button``: where it is sent (by POST, to the
    same site), what stands on it, and what stands above it. ``setup``: the address of the portal."""
    paragraphs = "\n".join(f"<p>{escape(text)}</p>" for text in texts)
    rows = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{escape(heading)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{_paragraph("owner", escape(owner))}<h1>{escape(heading)}</h1>
{_paragraph("message", escape(message))}{paragraphs}
<dl>
{rows}
</dl>
{_form(button)}{_paragraph("contact", _contact(contact, request_id))}{_paragraph("setup", _setup(setup))}</main>
</body>
</html>
"""


def _paragraph(kind: str, markup: str) -> str:
    return f'<p class="{kind}">{markup}</p>\n' if markup else ""


def _form(button: tuple[str, str, str] | None) -> str:
    if button is None:
        return ""
    action, label, text = (escape(part) for part in button)
    return f'<p>{text}</p>\n<form method="post" action="{action}"><button type="submit">{label}</button></form>\n'


def _setup(address: str) -> str:
    return f'<a href="{escape(address)}">{escape(SETUP)}</a>' if address else ""


def _contact(contact: str, request_id: str) -> str:
    """A link where the contact is a mail address or a web address, else the text as it stands."""
    if not contact:
        return ""
    shown = escape(contact)
    if _MAIL.match(contact):
        subject = quote(f"Request {request_id}", safe="")
        shown = f'<a href="mailto:{escape(contact)}?subject={escape(subject)}">{shown}</a>'
    elif _LINK.match(contact):
        shown = f'<a href="{shown}" rel="noreferrer">{shown}</a>'
    return f"Contact: {shown}"
