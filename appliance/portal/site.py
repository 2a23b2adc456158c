"""The portal itself: routes, and the pages behind them. Each visitor sees what belongs to its own tenant."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from appliance.config.portal import Pac
from appliance.domain.ids import TenantId
from appliance.portal import mobileconfig, pac
from appliance.portal.anchor import STEM, Anchor, stem
from appliance.portal.names import PortalNames
from appliance.portal.pages import ASSETS, Pages, as_json, page_headers
from appliance.portal.routes import Route, RouteTable
from appliance.portal.visit import Answer, Handler, Via, Visit

FORMS: Final = {
    "pem": "application/x-pem-file",
    "cer": "application/x-x509-ca-cert",
    "der": "application/x-x509-ca-cert",
    "p12": "application/x-pkcs12",
}
MAX_ANCHORS: Final = 4
"""More CAs of one tenant than in any rotation."""


@dataclass(frozen=True, slots=True)
class Household:
    """What the portal has for one tenant. ``anchors`` gives its CAs, the one that signs now first; ``title`` is its name."""

    tenant: TenantId
    title: str
    anchors: Callable[[], Sequence[Anchor]]
    pac: Pac = field(default_factory=Pac)
    contact: str = ""


class Site:
    """``secure``: the names of the listeners that are spoken to over TLS. ``mounted``: pages of other parts."""

    def __init__(
        self,
        names: PortalNames,
        households: Mapping[TenantId, Household],
        secure: frozenset[str] = frozenset(),
        mounted: Iterable[Route] = (),
    ) -> None:
        self.names = names
        self._households = dict(households)
        self._secure = secure
        self._pages = Pages(names)
        self._table = RouteTable([*self._routes(), *mounted])

    def _routes(self) -> list[Route]:
        files = [(number, form) for number in range(MAX_ANCHORS) for form in FORMS]
        return [
            Route("/", self._install),
            Route("/installed", self._installed),
            Route("/ca.json", self._json),
            *(Route(f"/{stem(number)}.{form}", self._certificate(number, form)) for number, form in files),
            Route(f"/{STEM}.mobileconfig", self._profile),
            Route("/proxy.pac", self._pac),
            Route("/wpad.dat", self._pac),
            *(Route(path, _asset(path)) for path in ASSETS),
        ]

    def route(self, visit: Visit) -> Route | Answer:
        """The route that answers a visit, or the answer that there is none."""
        route = self._table.find(visit.path)
        if route is None:
            return self._pages.missing(visit)
        if not route.takes(visit.method):
            return Answer(405, (*page_headers("text/plain; charset=utf-8"), ("Allow", route.allow)), b"Not this method here.\n")
        return route

    def answer(self, visit: Visit) -> Answer | Awaitable[Answer]:
        """The answer to a whole request. A visitor without a tenant gets no certificate, and is told why."""
        found = self.route(visit)
        if isinstance(found, Answer):
            return found
        if visit.tenant not in self._households and visit.path not in ASSETS:
            return self._pages.stranger(visit)
        return found.handler(visit)

    # -- pages

    def _home(self, visit: Visit) -> Household:
        """Only called for a visit that ``answer`` has let in."""
        return self._households[visit.tenant or TenantId("")]

    def _scheme(self, visit: Visit) -> str:
        """How the visitor's listener is spoken to as a proxy; empty for a transparent one."""
        if visit.via is Via.TRANSPARENT:
            return ""
        if visit.via is Via.SOCKS:
            return "socks5"
        return "https" if visit.server in self._secure else "http"

    def _install(self, visit: Visit) -> Answer:
        home = self._home(visit)
        return self._pages.install(visit, home.title, home.contact, _offered(home), self._scheme(visit), home.pac.enabled)

    def _installed(self, visit: Visit) -> Answer:
        return self._pages.installed(visit, self._home(visit).title)

    def _json(self, visit: Visit) -> Answer:
        return Answer(200, page_headers("application/json"), as_json(_offered(self._home(visit))))

    def _certificate(self, number: int, form: str) -> Handler:
        def serve(visit: Visit) -> Answer:
            anchors = _offered(self._home(visit))
            if number >= len(anchors):
                return self._pages.missing(visit)
            # inline: Firefox asks at once whether to trust what it gets as this type, and other clients save it
            how = "inline" if form == "cer" else "attachment"
            return _file(getattr(anchors[number], "der" if form == "cer" else form), FORMS[form], f"{stem(number)}.{form}", how)

        return serve

    def _profile(self, visit: Visit) -> Answer:
        home = self._home(visit)
        anchors = _offered(home)
        if not anchors:
            return self._pages.missing(visit)
        body = mobileconfig.mobileconfig(f"{self.names.name}.{home.tenant}", home.title, anchors)
        return _file(body, mobileconfig.CONTENT_TYPE, f"{STEM}.mobileconfig", "attachment")

    def _pac(self, visit: Visit) -> Answer:
        home, scheme = self._home(visit), self._scheme(visit)
        if not home.pac.enabled:
            return self._pages.missing(visit)
        listener = pac.listener_address(visit.listener, scheme) if scheme else ""
        body = pac.pac(home.pac, listener, (self.names.name, self.names.check))
        return Answer(200, page_headers(pac.CONTENT_TYPE), body)


def _offered(home: Household) -> Sequence[Anchor]:
    return home.anchors()[:MAX_ANCHORS]


def _file(body: bytes, kind: str, name: str, how: str) -> Answer:
    return Answer(200, (*page_headers(kind), ("Content-Disposition", f'{how}; filename="{name}"')), body)


def _asset(path: str) -> Handler:
    answer = ASSETS[path]
    return lambda _: answer
