"""The portal's pages: templates that escape all they are given, one style sheet and one script of their own."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from appliance.portal.anchor import Anchor, stem
from appliance.portal.guides import Guide, guides, platform_of
from appliance.portal.names import PortalNames
from appliance.portal.source import source_of
from appliance.portal.visit import Answer, Via, Visit

PROBE: Final = "/installed.svg"
_HTML: Final = "text/html; charset=utf-8"


def page_headers(kind: str, policy: str = "default-src 'none'", *, shared: bool = False) -> tuple[tuple[str, str], ...]:
    """``shared``: pages of another origin may show it, as the plain page does with the one image of the test."""
    return (
        ("Content-Type", kind),
        ("Cache-Control", "no-store"),
        ("Content-Security-Policy", f"{policy}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
        ("Cross-Origin-Resource-Policy", "cross-origin" if shared else "same-origin"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
    )


def _static(name: str, kind: str, *, shared: bool = False) -> Answer:
    body = files("appliance.portal").joinpath("static", name).read_bytes()
    return Answer(200, page_headers(kind, shared=shared), body)


ASSETS: Final = {
    "/portal.css": _static("portal.css", "text/css; charset=utf-8"),
    "/portal.js": _static("portal.js", "text/javascript; charset=utf-8"),
    "/icon.svg": _static("icon.svg", "image/svg+xml"),
    PROBE: _static("installed.svg", "image/svg+xml", shared=True),
}
"""Answered to everybody, known or not."""


class Pages:
    def __init__(self, names: PortalNames) -> None:
        self._names = names
        self._templates = Environment(
            loader=PackageLoader("appliance.portal"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self._templates.filters["day"] = day

    def install(self, visit: Visit, title: str, contact: str, anchors: Sequence[Anchor], scheme: str, pac: bool) -> Answer:
        """The page a person is sent to. ``scheme``: how the listener is spoken to, ``pac``: there is a proxy.pac."""
        probe, platform = self.probe(visit), platform_of(visit.user_agent)
        upcoming = self.next_probe(visit) if len(anchors) > 1 else ""
        tested = " ".join(each.removesuffix(PROBE) for each in (probe, upcoming) if each)
        return self._page(
            "install.html",
            visit,
            title,
            policy=f"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' {tested}",
            contact=contact,
            cards=cards(anchors, lambda stem: _sorted(guides(source_of(visit, self._names.name, scheme, stem)), platform)),
            platform=platform,
            probe=probe,
            next_probe=upcoming,
            direct=visit.via is Via.DIRECT,
            pac=self._pac_url(visit, scheme) if pac else "",
        )

    def probe(self, visit: Visit) -> str:
        """What loads if, and only if, the CA is trusted.

        From a name that nobody makes exceptions for; a transparent client's DNS knows the fixed name alone.
        """
        by_address = visit.via is Via.TRANSPARENT
        return f"https://{self._names.name if by_address else self._names.check}{PROBE}"

    def next_probe(self, visit: Visit) -> str:
        """The same for the CA that will follow; nothing where the client could not look up its name."""
        return "" if visit.via is Via.TRANSPARENT else f"https://{self._names.next}{PROBE}"

    def _pac_url(self, visit: Visit, scheme: str) -> str:
        return f"http://{visit.listener}/proxy.pac" if scheme == "http" else f"http://{self._names.name}/proxy.pac"

    def installed(self, visit: Visit, title: str) -> Answer:
        return self._page("installed.html", visit, title)

    def stranger(self, visit: Visit) -> Answer:
        """For who belongs to no tenant: whom to ask, and what to tell them."""
        page = self._page("stranger.html", visit, "", 403)
        return Answer(page.status, page.headers, page.body, refused=True)

    def missing(self, visit: Visit) -> Answer:
        return self._page("missing.html", visit, "", 404)

    def _page(
        self, template: str, visit: Visit, title: str, status: int = 200,
        policy: str = "default-src 'none'; style-src 'self'; img-src 'self'", **values: Any,
    ) -> Answer:  # fmt: skip
        text = self._templates.get_template(template).render(
            {"name": self._names.name, "title": title, "visit": visit, "secure": visit.secure} | values
        )
        return Answer(status, page_headers(_HTML, policy), text.encode("utf-8", "replace"))


def cards(anchors: Sequence[Anchor], guides_for: Callable[[str], Sequence[Guide]]) -> list[dict[str, Any]]:
    """Each CA with its files and guides. The first is the one that signs now; others are next, or on their way out."""
    return [
        {"anchor": anchor, "stem": stem(number), "guides": guides_for(stem(number)), "number": number + 1}
        for number, anchor in enumerate(anchors)
    ]


def _sorted(known: Sequence[Guide], platform: str) -> Sequence[Guide]:
    """The visitor's own platform first."""
    return sorted(known, key=lambda guide: guide.key != platform)


def day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%-d %B %Y")


def as_json(anchors: Sequence[Anchor]) -> bytes:
    """The page's facts for programs."""
    known = [
        {
            "subject": anchor.subject,
            "sha256": anchor.sha256,
            "sha1": anchor.sha1,
            "not_before": anchor.not_before,
            "not_after": anchor.not_after,
            "pem": anchor.pem.decode("ascii"),
        }
        for anchor in anchors
    ]
    return json.dumps({"certificates": known}).replace("<", "\\u003c").encode() + b"\n"
