"""The listener: connections in, a session each, and an orderly end."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Coroutine

from icap.server.channel import Channel
from icap.server.service import NoWatcher, Services, Watcher
from icap.server.session import Session
from icap.server.settings import ServerSettings


class IcapServer:
    """Serves ``services`` (name in the URI's path to service) on sockets that somebody else has bound."""

    def __init__(self, services: Services, settings: ServerSettings | None = None, watcher: Watcher | None = None) -> None:
        self._services = services
        self._settings = settings or ServerSettings()
        self._watcher = watcher or NoWatcher()
        self._listeners: list[asyncio.Server] = []
        self._sessions: dict[Channel, Session] = {}
        self._refused: set[Channel] = set()
        self._tasks: dict[Channel, asyncio.Task[None]] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def connections(self) -> int:
        """Connections being served, those that were refused not counted."""
        return len(self._sessions)

    async def start(self, sockets: list[socket.socket], tls: ssl.SSLContext | None = None) -> None:
        """Accept on ``sockets``, TCP or unix; they are closed by ``stop``. With ``tls`` this is ``icaps``: TLS from the first
        byte. May be called again for further sockets."""
        loop = asyncio.get_running_loop()
        if self._ticker is None:
            self._ticker = loop.create_task(self._tick())
        for sock in sockets:
            listener = await loop.create_server(self._channel, sock=sock, backlog=self._settings.backlog, ssl=tls)
            self._listeners.append(listener)

    async def stop(self, grace: float = 5.0) -> None:
        """Accept no more, end idle connections at once, let exchanges finish for ``grace`` seconds, then cut them off."""
        self._stopping = True
        for listener in self._listeners:
            listener.close()
        for channel, session in list(self._sessions.items()):
            if not session.busy:
                channel.close()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=grace)
        await self._cut_off()
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker

    async def _cut_off(self) -> None:
        tasks = list(self._tasks.values())
        for channel, task in list(self._tasks.items()):
            task.cancel()
            channel.abort()
        if tasks:
            await asyncio.wait(tasks)

    def _channel(self) -> Channel:
        return Channel(self._settings, self._opened, self._closed)

    def _opened(self, channel: Channel) -> None:
        session = Session(channel, self._services, self._watcher, lambda: self._stopping)
        if len(self._sessions) >= self._settings.max_connections or self._stopping:
            self._refuse(channel, session)
            return
        self._sessions[channel] = session
        self._run(channel, session.run())
        self._watcher.connections(len(self._sessions))

    def _refuse(self, channel: Channel, session: Session) -> None:
        self._watcher.refused()
        if len(self._refused) >= self._settings.max_connections:
            channel.abort()  # not even a word for those who come faster than they can be told
            return
        self._refused.add(channel)
        self._run(channel, session.refuse())

    def _run(self, channel: Channel, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[channel] = task
        task.add_done_callback(lambda _: self._tasks.pop(channel, None))

    def _closed(self, channel: Channel) -> None:
        self._refused.discard(channel)
        if self._sessions.pop(channel, None) is not None:
            self._watcher.connections(len(self._sessions))
        task = self._tasks.get(channel)
        if task is not None:
            task.cancel()  # nobody waits for the answer any more: a scan under way would be for nothing

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._settings.tick)
            now = loop.time()
            for channel in (*self._sessions, *self._refused):
                channel.check(now)
