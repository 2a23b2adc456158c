"""Clients that ask one thing after the other for as long as a test needs them, and count what goes wrong. They never ask
twice: a request without a whole answer is a failure, as it would be for a person."""

import asyncio
import contextlib
import ssl
import subprocess
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.running import Running, wait_until
from tests.e2e.webserver import WebServer

PATIENCE = 30.0
PACE = 0.04
"""Seconds between two requests of one client."""


@dataclass
class Steady:
    """``plain`` clients ask in absolute form, ``secure`` ones inside a CONNECT tunnel; both keep their connection as long as
    the proxy lets them. ``fresh`` ones make a connection for each request; curls speak HTTP/2 with ``http2``, a URL. ``done``
    counts answers by kind."""

    appliance: Running
    web: WebServer
    plain: int = 2
    secure: int = 3
    fresh: int = 2
    http2: str = ""
    cas: str = ""
    done: dict[str, int] = field(default_factory=lambda: {"plain": 0, "secure": 0, "fresh": 0, "curl": 0})
    failures: list[str] = field(default_factory=list)
    connections: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def total(self) -> int:
        return sum(self.done.values())

    def further(self, number: int = 30) -> None:
        """Wait until so many more requests have been answered."""
        wanted = self.total + number
        wait_until(lambda: self.total >= wanted or self.failures, 60, f"{number} more answers")

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.cas or self.appliance.ca().read_text())
        context.set_alpn_protocols(["http/1.1"])
        return context

    async def _clients(self) -> None:
        port = self.appliance.port("explicit")
        works: list[Coroutine[Any, Any, None]] = []
        works += [self._client("plain", port, None) for _ in range(self.plain)]
        works += [self._client("secure", port, self._context()) for _ in range(self.secure)]
        works += [self._client("fresh", port, self._context(), keep=False) for _ in range(self.fresh)]
        works += [asyncio.to_thread(self._curl)] if self.http2 else []
        await asyncio.gather(*works)

    async def _client(self, kind: str, port: int, context: ssl.SSLContext | None, *, keep: bool = True) -> None:
        while not self._stop.is_set():
            try:
                async with asyncio.timeout(PATIENCE):
                    reader, writer = await self._connect(port, context)
                self.connections += 1
                try:
                    await self._talk(kind, reader, writer, keep, secure=context is not None)
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
            except (OSError, EOFError, AssertionError, TimeoutError) as error:
                self.failures.append(f"{kind}: {type(error).__name__}: {error}")
                await asyncio.sleep(PACE)

    async def _connect(self, port: int, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        if context is not None:
            origin = self.web.tls_url.removeprefix("https://")
            writer.write(f"CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head, head
            await writer.start_tls(context, server_hostname="origin.test")
        return reader, writer

    async def _talk(
        self, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keep: bool, *, secure: bool
    ) -> None:
        base = "" if secure else self.web.url
        host = (self.web.tls_url if secure else self.web.url).partition("//")[2]
        while not self._stop.is_set():
            if reader.at_eof():
                return  # closed while nothing was under way
            writer.write(f"GET {base}/hello HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            async with asyncio.timeout(PATIENCE):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                assert head.startswith("http/1.1 200 "), head
                size = int(head.partition("content-length: ")[2].partition("\r\n")[0])
                await reader.readexactly(size)
            self.done[kind] += 1
            if not keep or "connection: close" in head:
                return
            await asyncio.sleep(PACE)

    def _curl(self) -> None:
        """Forty requests over HTTP/2 on as few connections as curl needs."""
        urls = [self.http2 for _ in range(40)]
        sink = [word for _ in urls for word in ("--output", "/dev/null")]
        while not self._stop.is_set():
            done = subprocess.run(
                [
                    "curl", "--silent", "--show-error", "--http2", "--noproxy", "", "--max-time", "60", "--retry", "0",
                    "--proxy", f"http://127.0.0.1:{self.appliance.port('explicit')}", "--cacert", str(self.appliance.ca()),
                    "--write-out", "%{http_code} %{http_version} %{exitcode}\n", *sink, *urls,
                ],
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            answers = done.stdout.split("\n")[:-1]
            self.done["curl"] += sum(answer == "200 2 0" for answer in answers)
            wrong = [answer for answer in answers if answer != "200 2 0"]
            if wrong or done.returncode:
                self.failures.append(f"curl: {done.returncode} {wrong} {done.stderr}")


@contextlib.contextmanager
def steady(appliance: Running, web: WebServer, **numbers: Any) -> Iterator[Steady]:
    """Clients that are at work inside the block."""
    load = Steady(appliance, web, **numbers)
    thread = threading.Thread(target=lambda: asyncio.run(load._clients()))
    thread.start()
    try:
        load.further(20)
        yield load
    finally:
        load._stop.set()
        thread.join(60)
