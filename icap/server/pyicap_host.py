"""Handlers written for pyicap, run on our server.

pyicap's own server answers nothing on today's Python, and takes what no server should (chunk sizes below zero, half
bodies, endless headers). Its programming interface is simple and known, so a class written for it runs here: our core
parses and frames, and the class's methods run in threads, as they always did.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from appliance.domain.errors import ScanError
from icap.protocol.events import Request, Response
from icap.server.adapt import EchoService, Offer
from icap.server.exchange import Exchange
from icap.server.keep import Keep, KeepBudget
from icap.server.pyicap_handler import BaseICAPRequestHandler
from icap.server.service import bare
from icap.server.settings import ServerSettings


class PyicapService(EchoService):
    """One name of a handler class as a service."""

    def __init__(
        self, name: str, handler: type[Any], keep: KeepBudget, executor: ThreadPoolExecutor, methods: frozenset[str]
    ) -> None:
        super().__init__(Offer(f"pyicap {name}"), keep, methods)
        self._name = name
        self._handler = handler
        self._executor = executor

    def at_once(self, request: Request, may_send_204: bool) -> Response | None:
        return None  # the handler's methods say what is answered, in a thread

    async def options(self, exchange: Exchange) -> None:
        await self._run(exchange, None)

    async def _serve(self, exchange: Exchange, keep: Keep | None) -> None:
        try:
            await self._run(exchange, keep)
        except ScanError as error:
            if exchange.answered:
                raise
            await self.refuse(exchange, error.reason, error.detail)

    async def _run(self, exchange: Exchange, keep: Keep | None) -> None:
        loop = asyncio.get_running_loop()
        handler: Any = object.__new__(self._handler)  # not __init__: socketserver's serves a socket from there
        handler.begin(exchange, keep, self.istag, loop)
        method = getattr(handler, f"{self._name}_{exchange.request.method}", None)
        if method is None:
            await exchange.answer(bare(405, self.istag))
            return
        await loop.run_in_executor(self._executor, handler.run, method)


class PyicapHost:
    """The services of a handler class, and the threads they run in."""

    def __init__(self, handler: type[Any], threads: int = 16, keep: KeepBudget | None = None) -> None:
        self._keep = keep or KeepBudget.of(ServerSettings())
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="pyicap")
        self._handler = _hosted(handler)

    def services(self) -> dict[str, PyicapService]:
        """For ``IcapServer``: every NAME for which the class has ``NAME_REQMOD`` or ``NAME_RESPMOD``."""
        methods: dict[str, set[str]] = {}
        for attribute in dir(self._handler):
            name, _, method = attribute.rpartition("_")
            if name and method in ("REQMOD", "RESPMOD") and callable(getattr(self._handler, attribute)):
                methods.setdefault(name, set()).add(method)
        return {name: self._service(name, frozenset(found)) for name, found in methods.items()}

    def close(self) -> None:
        """Start no more handlers. Those under way end with their connections."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _service(self, name: str, methods: frozenset[str]) -> PyicapService:
        return PyicapService(name, self._handler, self._keep, self._executor, methods)


def _hosted(handler: type[Any]) -> type[Any]:
    """The class with our methods in the place of pyicap's; what it overrides itself stays its own."""
    if issubclass(handler, BaseICAPRequestHandler):
        return handler
    own = [base for base in handler.__mro__ if base.__module__.partition(".")[0] not in ("pyicap", "socketserver", "builtins")]
    overridden = {name for base in own for name in vars(base)}
    ours = {name: member for name, member in vars(BaseICAPRequestHandler).items() if not name.startswith("__")}
    return type(handler.__name__, (handler,), {name: member for name, member in ours.items() if name not in overridden})
