"""The portal itself: routes, and the pages behind them. Each visitor sees what belongs to its own tenant."""

from collections.abc import Awaitable, Iterable, Mapping

from appliance.domain.ids import TenantId
from appliance.portal import files, pac
from appliance.portal.files import Household
from appliance.portal.names import PortalNames
from appliance.portal.pages import ASSETS, Pages, as_json, page_headers
from appliance.portal.routes import Route, RouteTable
from appliance.portal.visit import Answer, Handler, Via, Visit


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
        return [
            Route("/", self._install),
            Route("/installed", self._installed),
            Route("/ca.json", self._json),
            *(Route(f"/{name}", self._file) for name in files.names()),
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
        return self._pages.install(visit, home.title, home.contact, home.offered(), self._scheme(visit), home.pac.enabled)

    def _installed(self, visit: Visit) -> Answer:
        return self._pages.installed(visit, self._home(visit).title)

    def _json(self, visit: Visit) -> Answer:
        return Answer(200, page_headers("application/json"), as_json(self._home(visit).offered()))

    def _file(self, visit: Visit) -> Answer:
        file = files.find(self._home(visit), self.names.name, visit.path[1:])
        if file is None:
            return self._pages.missing(visit)
        return Answer(200, (*page_headers(file.content_type), ("Content-Disposition", file.disposition)), file.body)

    def _pac(self, visit: Visit) -> Answer:
        home, scheme = self._home(visit), self._scheme(visit)
        if not home.pac.enabled:
            return self._pages.missing(visit)
        listener = pac.listener_address(visit.listener, scheme) if scheme else ""
        body = pac.pac(home.pac, listener, (self.names.name, self.names.check, self.names.next))
        return Answer(200, page_headers(pac.CONTENT_TYPE), body)


def _asset(path: str) -> Handler:
    answer = ASSETS[path]
    return lambda _: answer
