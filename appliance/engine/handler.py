"""One client connection through mitmproxy's layers: our subclass of its connection handler.

What differs from the stock handler: no task and no lock per event or hook (events wait in a queue, hooks run inline from
the table), output of one event goes out in one write, connections are opened by the dialer, each phase has a deadline,
and an exception anywhere closes the connection instead of letting it pass.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, cast

from mitmproxy import options as moptions
from mitmproxy.connection import Connection, ConnectionState, Server
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands, events, layer, server
from mitmproxy.tls import TlsData

from appliance.domain.errors import TaskError
from appliance.domain.notes import ConnNotes
from appliance.domain.reason import Reason
from appliance.engine.context import TaskClient, TaskContext
from appliance.engine.hooks import HookTable, arguments
from appliance.engine.http.layer import StrictHttpLayer
from appliance.engine.idle_servers import IdleServers
from appliance.engine.inline_tls import InlineTls
from appliance.engine.inspection import Apart, Await, Awaited, Hold, Uploading
from appliance.engine.keeping import Keeper
from appliance.engine.options import LayerOptions
from appliance.engine.output import Output
from appliance.engine.phases import Phases, never
from appliance.engine.server_connection import Dial, Servers, close_writer, has_ended
from appliance.engine.stream import SERVER_READ_LIMIT, ClientStream
from appliance.engine.streaming import STREAMING, WRITE_HIGH, Streaming
from appliance.engine.tls_side import TlsSide

logger = logging.getLogger(__name__)


class Ending(Protocol):
    """Who is told when flows end outside their hooks."""

    def flow_failed(self, flow: HTTPFlow, reason: Reason, detail: str, hook: str) -> None:
        """A hook failed: put an error page in place, or mark the flow as killed, and record it if no hook will."""

    def flow_blamed(self, flow: HTTPFlow, reason: Reason) -> None:
        """Why a flow is about to fail, before its error hook says how."""

    def connection_ended(self, conn: ConnNotes, live: list[HTTPFlow], reason: Reason, detail: str, *, served: bool) -> None:
        """The connection is over; ``live`` are flows whose end no hook has seen; ``served``: it carried a request."""


type Opening = Callable[[TaskHandler], Awaitable[bool]]
"""What comes before the layers. It ends with ``begin``, or gives False: there is nothing to go on with."""


class TaskHandler(server.ConnectionHandler):
    """Runs the layers of one client connection until it ends or another lane takes over."""

    def __init__(
        self,
        conn: ConnNotes,
        stream: ClientStream,
        options: LayerOptions,
        hooks: HookTable,
        dial: Dial,
        ending: Ending,
        phases: Phases,
        idle: IdleServers | None = None,
    ) -> None:
        client = TaskClient(
            peername=(conn.client.ip, conn.client.port),
            sockname=(conn.client.listen_ip, conn.client.listen_port),
            timestamp_start=conn.started,
            state=ConnectionState.OPEN,
        )
        client.arcus = conn  # type: ignore[attr-defined]
        # No super().__init__: it would make a watchdog, two locks and a first layer that are not used here.
        self.client = client
        self.context = TaskContext(client, cast(moptions.Options, options))
        self.transports = {client: server.ConnectionIO(reader=stream.reader, writer=stream.writer)}
        self.wakeup_timer = set()
        self.conn = conn
        self.stream = stream
        self.phases = phases
        self.handed_over = False
        self.streaming = Streaming(phases)
        self.may_hand_over = False
        self.reason, self.detail = Reason.OK, ""
        self._requests_before = conn.requests
        self._hooks = hooks
        self._ending = ending
        self._aborted = False
        self._over = False
        self._queue: deque[events.Event] = deque()
        self._processing = False
        self._out = Output(client, conn, self.transports)
        self._servers = Servers(conn, dial, self.transports)
        self._keeper = Keeper(conn, idle, self.transports)
        self._tasks: set[asyncio.Task[None]] = set()
        self._top: layer.Layer | InlineTls | None = None

    # -- life ---------------------------------------------------------------------------------------------------

    async def run(self, opening: Opening) -> bool:
        """Serve the connection to its end. True: a CONNECT waits in the reader, and the stream is still open."""
        try:
            await self._with_client(opening)
            if self.phases.parted:
                self.stream.close()
                await self.streaming.without_client(lambda: self._aborted)
        finally:
            self._finish()
        return self.handed_over

    async def _with_client(self, opening: Opening) -> None:
        task = asyncio.current_task()
        self.transports[self.client].handler = task
        try:
            if await opening(self):
                await self.handle_connection(self.client)
                await asyncio.sleep(0)  # takes the cancellation that closing the client from within has left behind
        except asyncio.CancelledError:
            # Also how the layers close the client ("closed by command"); a real cancellation ends the task just the same.
            if task is not None:
                task.uncancel()
        except Exception:
            logger.exception("the handshakes failed; the connection is closed")
            self.abort(Reason.INTERNAL_ERROR, "handshakes")

    def begin(self, top: layer.Layer | InlineTls, server: Server | None = None) -> None:
        """From now on events go to ``top``; first what has come with the end of the handshakes, if there were any."""
        self._top = top
        self._process(events.Start())
        if server is not None:
            self._keeper.begun(server)
            self._process(events.DataReceived(server, b""))
            self._run_now(self._serve(server))
        if isinstance(top, InlineTls):
            self._received(self.client, b"", True)

    def _finish(self) -> None:
        self._over = True
        self.client.timestamp_end = time.time()
        for timer in self.wakeup_timer:
            timer.cancel()
        if self.reason is Reason.OK and not self._aborted and not self.phases.live and isinstance(self._top, InlineTls):
            self._keeper.leave(self.client, self._top)
        for io in list(self.transports.values()):
            if io.handler is not None and io.handler is not asyncio.current_task():
                io.handler.cancel("client disconnected")
        for task in self._tasks:
            task.cancel()
        self.streaming.release()
        reason = self.reason if self.reason is not Reason.OK else Reason.CLIENT_CLOSED
        served = self.handed_over or self.conn.requests > self._requests_before
        self._ending.connection_ended(self.conn, list(self.phases.live.values()), reason, self.detail, served=served)
        self._dismantle()

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._over:
            self._dismantle()

    def _dismantle(self) -> None:
        """Once nothing runs any more. The layers refer to each other and to themselves: left to the collector, they cost 5 %
        of the CPU of a connection (measured), and wait for it with all that they hold."""
        if not self._tasks:
            self._aborted = True
            self._queue.clear()
            self.phases.busy = never
            top, self._top = self._top, None
            if isinstance(top, InlineTls | StrictHttpLayer):
                top.dismantle()

    def abort(self, reason: Reason, detail: str = "") -> None:
        """End the connection now, for ``reason``; the first reason stays.

        The layers see nothing more of it: what they were about to send was judged by nobody.
        """
        if self.reason is Reason.OK:
            self.reason, self.detail = reason, detail
        self._aborted = True
        self.streaming.wake()
        self.stream.close()  # nothing is left to say: a client that broke a limit is not waited for
        io = self.transports.get(self.client)
        if io is not None and io.handler is not None:
            io.handler.cancel(reason.word)

    def check_deadline(self, now: float) -> None:
        self.phases.check(now, self)

    def drop_servers(self, reason: Reason) -> None:
        """Close every upstream connection: their streams fail with ``reason``."""
        for flow in self.phases.live.values():
            self._ending.flow_blamed(flow, reason)
        for connection, io in list(self.transports.items()):
            if connection is not self.client and io.handler is not None:
                io.handler.cancel(reason.word)

    @property
    def idle(self) -> bool:
        return not self.phases.live and not self.phases.parted

    @property
    def idle_for(self) -> float:
        """Seconds since the last request ended; none while the next one is being received."""
        return self.phases.idle_for

    # -- reading --------------------------------------------------------------------------------------------------

    async def handle_connection(self, connection: Connection) -> None:
        """Read one side until its end, then keep it for writing while the layers want it (half-close)."""
        io = self.transports[connection]
        reader = cast(asyncio.StreamReader, io.reader)
        from_client = connection is self.client
        cancelled = False  # not the exception itself: kept in its own frame it would be garbage for the collector
        while True:
            try:
                if from_client and self.may_hand_over and await self._connect_follows():
                    self.handed_over = True
                    return
                data = await reader.read(SERVER_READ_LIMIT)
            except OSError:
                data = b""
            except asyncio.CancelledError:
                cancelled = True
                break
            if not data:
                break
            self._received(connection, data, from_client)
            try:
                await self._out.drain()
                await self.streaming.may_read(connection, from_client=from_client)
            except asyncio.CancelledError:
                cancelled = True
                break
        if self._keeper.has_left(connection):
            raise asyncio.CancelledError
        await self._closed(connection, cancelled)

    async def room(self, connection: Connection, stream_id: int) -> None:
        """Wait until a side has taken most of what it was sent; one that takes nothing for too long is given up."""
        await asyncio.sleep(0)  # what was just sent is handed to the transport first, and others get their turn
        writer = self._out.writer(connection)
        try:
            async with asyncio.timeout(self.phases.patience):
                if writer is not None and writer.transport.get_write_buffer_size() > WRITE_HIGH:
                    await writer.drain()
                await self.streaming.taken(connection, stream_id, lambda: connection in self.transports)
        except TimeoutError:
            if connection is self.client:
                self.abort(Reason.CLIENT_STALLED)
            else:
                self.drop_servers(Reason.UPSTREAM_TIMEOUT)
        except OSError:
            return  # its reader tells
        self.phases.activity(from_client=False, size=0)

    async def _connect_follows(self) -> bool:
        """Whether the next bytes are a CONNECT that follows a finished exchange. Consumes nothing."""
        stream = self.stream.reader
        data = await stream.peek(1)
        # asked when bytes are there: the exchange that was open when the wait began may be over
        while self.phases.between_requests and data and len(data) < 8 and b"CONNECT ".startswith(data):
            longer = await stream.peek_more(len(data))
            if longer == data:
                break
            data = longer
        return self.phases.between_requests and data.startswith(b"CONNECT ")

    def _count(self, from_client: bool, size: int) -> None:
        self.phases.activity(from_client, size)
        if from_client:
            self.conn.bytes_in += size

    def _received(self, connection: Connection, data: bytes, from_client: bool) -> None:
        self._count(from_client, len(data))
        self._process(events.DataReceived(connection, data))
        self.streaming.moved()
        if from_client:
            self.phases.after_client_data()

    async def _closed(self, connection: Connection, cancelled: bool) -> None:
        if cancelled:
            connection.state = ConnectionState.CLOSED
        else:
            connection.state &= ~ConnectionState.CAN_READ
        self._process(events.ConnectionClosed(connection))
        if connection.state is ConnectionState.CAN_WRITE:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled = True
        io = self.transports.pop(connection, None)
        if io is not None:
            io.handler = None
        # The client's stream is closed where it was opened (engine.lanes), so that our last words can arrive.
        if io is not None and connection is not self.client:
            close_writer(io)
        if cancelled:
            raise asyncio.CancelledError

    # -- opening ----------------------------------------------------------------------------------------------------

    async def open_connection(self, command: commands.OpenConnection) -> None:
        connection = command.connection
        opened = await self.connect(connection)
        if opened:  # the layers may close it at once
            self.transports[connection].handler = asyncio.current_task()
        self._process(events.OpenConnectionCompleted(command, None if opened else connection.error))
        if opened:
            await self._serve(connection)

    async def connect(self, connection: Server) -> bool:
        """Open it by the dialer; False, and ``error`` says why, when that failed."""
        return await self._servers.connect(connection)

    async def _serve(self, connection: Server) -> None:
        """Read an open connection to its end, in a task of its own."""
        self.transports[connection].handler = asyncio.current_task()
        try:
            await self.handle_connection(connection)
        finally:
            if not self._keeper.has_left(connection):
                has_ended(connection)

    # -- handshakes (``engine.handshake.Wire``) ---------------------------------------------------------------------

    def take(self) -> TlsSide | None:
        return self._keeper.take(self.client, self.context)

    async def receive(self, connection: Connection) -> bytes:
        """The next octets of one side; empty at its end."""
        try:
            data = await cast(asyncio.StreamReader, self.transports[connection].reader).read(SERVER_READ_LIMIT)
        except OSError:
            return b""
        self._count(connection is self.client, len(data))
        return data

    def transmit(self, connection: Connection, data: bytes) -> None:
        if data:
            self._out.add(connection, data)
            self._out.flush(connection)

    async def hook(self, name: str, data: TlsData) -> None:
        """Run a hook to its end; does not return when it failed, for then the connection is over."""
        if (pending := self._run_hook(name, (data,))) is not None:
            await self._wait_for_hook(name, (data,), pending)
        if self._aborted:
            await asyncio.sleep(0)  # ends this task, which was cancelled
            raise asyncio.CancelledError(name)

    def client_gone(self) -> bool:
        return self.stream.reader.ended

    def drop(self, connection: Server) -> None:
        self._servers.drop(connection)

    # -- events and commands ----------------------------------------------------------------------------------------

    async def server_event(self, event: events.Event) -> None:
        self._process(event)

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Never called: hooks are run by ``_start_hook``."""
        raise AssertionError(hook.name)

    def _process(self, event: events.Event) -> None:
        """Feed one event to the layers and carry out what they command. Re-entrant calls are queued, in order."""
        self._queue.append(event)
        if self._processing or self._aborted:
            return
        self._processing = True
        try:
            while self._queue and not self._aborted and self._top is not None:
                for command in self._top.handle_event(self._queue.popleft()):
                    self._execute(command)
                    if self._aborted:
                        break
        except Exception:
            logger.exception("the protocol layers failed; the connection is closed")
            self._queue.clear()
            self.abort(Reason.INTERNAL_ERROR, "protocol layers")
        finally:
            self._processing = False
            if self._out.waiting:
                self._out.flush_all()

    def _execute(self, command: commands.Command) -> None:
        if isinstance(command, commands.SendData):
            self._out.add(command.connection, command.data)
        elif isinstance(command, commands.StartHook):
            self._start_hook(command)
        elif isinstance(command, commands.OpenConnection):
            task = self._spawn(self.open_connection(command))
            self.transports[command.connection] = server.ConnectionIO(handler=task)
        elif isinstance(command, commands.CloseConnection):
            self._close(command)
        elif isinstance(command, commands.RequestWakeup):
            self.wakeup_timer.add(self._spawn(self.wakeup(command)))
        elif isinstance(command, STREAMING):
            self._execute_streaming(command)
        elif not isinstance(command, commands.Log):
            raise RuntimeError(f"unexpected command: {command}")

    def _spawn(self, coroutine: Awaitable[None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _run_now(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """A task that runs at once until it waits: a hook that waits for nothing costs no turn of the loop, and a
        connection that ends right now does not leave a hook that was never begun."""
        task: asyncio.Task[None] = asyncio.Task(coroutine, loop=asyncio.get_running_loop(), eager_start=True)
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._task_done)

    def _execute_streaming(self, command: commands.Command) -> None:
        if isinstance(command, Await):
            self._run_now(self._await(command))
        elif isinstance(command, Hold):
            self.streaming.hold(command)
        elif isinstance(command, Uploading):
            self.phases.uploading(command.flow, over=command.over)
        elif isinstance(command, Apart):
            self.streaming.apart(command)
        else:
            self._out.reset(self.stream)

    async def _await(self, command: Await) -> None:
        reply: object = None
        failed = False
        try:
            reply = await self.streaming.run(command, self)
        except asyncio.CancelledError as error:
            if self._over:
                raise
            task = asyncio.current_task()
            if task is None or not task.cancelling():  # not ``cancel``: what it waited for went away, without a verdict
                failed = True
                self._hook_failed(command.hook, (command.flow,), error)
        except Exception as error:
            logger.exception("inspecting a body failed; the task is stopped")
            failed = True
            self._hook_failed(command.hook, (command.flow,), error)
        if not self._aborted:
            self._process(Awaited(command, reply, failed))

    def _close(self, command: commands.CloseConnection) -> None:
        if command.connection not in self.transports:
            return
        self._out.flush(command.connection)
        half = isinstance(command, commands.CloseTcpConnection) and command.half_close
        self.close_connection(command.connection, half)

    # -- hooks --------------------------------------------------------------------------------------------------------

    def _start_hook(self, hook: commands.StartHook) -> None:
        name, args = hook.name, arguments(hook)
        if (pending := self._run_hook(name, args)) is not None:
            hook.blocking = hook.blocking or True  # see ``TaskStream.handle_event``
            self._run_now(self._finish_hook(hook, name, args, pending))
            return
        if hook.blocking:
            self._queue.append(events.HookCompleted(hook))

    def _run_hook(self, name: str, args: tuple[object, ...]) -> Awaitable[None] | None:
        self.phases.before_hook(name, args)
        pending = self._hooks.run(name, args, self._hook_failed)
        if pending is None and not self._aborted:
            self.phases.after_hook(name, args)
        return pending

    async def _finish_hook(
        self, hook: commands.StartHook, name: str, args: tuple[object, ...], pending: Awaitable[None]
    ) -> None:
        await self._wait_for_hook(name, args, pending)
        if hook.blocking and not self._aborted:
            self._process(events.HookCompleted(hook))

    async def _wait_for_hook(self, name: str, args: tuple[object, ...], pending: Awaitable[None]) -> None:
        self.phases.hooks_running += 1
        try:
            await pending
        finally:
            self.phases.hooks_running -= 1
        if not self._aborted:
            self.phases.after_hook(name, args)

    def _hook_failed(self, name: str, args: tuple[object, ...], error: BaseException) -> None:
        self._keeper.spoil()
        reason, detail = _why(name, error)
        if args and isinstance(args[0], HTTPFlow) and not name.startswith("websocket"):
            self._ending.flow_failed(args[0], reason, detail, name)
        else:
            self.abort(reason, detail)


def _why(hook: str, error: BaseException) -> tuple[Reason, str]:
    """The reason that a part of ours gave by name, or that it is broken."""
    if isinstance(error, TaskError):
        return error.reason, error.detail
    return Reason.INTERNAL_ERROR, f"{hook}: {type(error).__name__}"
