"""The route table of the portal: where other parts mount pages of their own on the fixed name."""

from collections.abc import Iterable
from dataclasses import dataclass

from appliance.portal.visit import Handler


@dataclass(frozen=True, slots=True)
class Route:
    """``path`` ending in ``/`` takes everything below it as well. A handler may be a coroutine function.

    ``max_body``: the bytes of a body that the handler gets; a longer one is refused before the handler is asked.
    HEAD is answered wherever GET is.
    """

    path: str
    handler: Handler
    methods: tuple[str, ...] = ("GET",)
    max_body: int = 0

    def takes(self, method: str) -> bool:
        return method in self.methods or (method == "HEAD" and "GET" in self.methods)

    @property
    def allow(self) -> str:
        """The value of Allow (RFC 9110 section 10.2.1)."""
        return ", ".join((*self.methods, "HEAD") if "GET" in self.methods else self.methods)


class RouteTable:
    """Immutable. An exact path wins, then the longest that leads there."""

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, routes: Iterable[Route]) -> None:
        """Raises ValueError: two routes with one path, or a path that does not begin with ``/``."""
        self._exact: dict[str, Route] = {}
        for route in routes:
            if not route.path.startswith("/") or route.path in self._exact:
                raise ValueError(f"not a path of its own: {route.path!r}")
            self._exact[route.path] = route
        below = [route for route in self._exact.values() if route.path.endswith("/") and route.path != "/"]
        self._prefixes = tuple(sorted(below, key=lambda route: -len(route.path)))

    def find(self, path: str) -> Route | None:
        return self._exact.get(path) or next((route for route in self._prefixes if path.startswith(route.path)), None)
