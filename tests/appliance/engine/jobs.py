"""A driver of layers whose bodies are judged: the jobs that they ask for wait until a test ends them."""

from typing import Any

from mitmproxy.connection import Connection
from mitmproxy.proxy import commands
from mitmproxy.proxy.layers.http import HTTPMode

from appliance.engine.inspection import Await, Awaited, Hold, Reset, Uploading
from appliance.engine.task_http import TaskHttpLayer
from tests.engine_driver import Driver


class JobDriver(Driver):
    layer_type = TaskHttpLayer

    def __init__(self, **more: Any) -> None:
        self.awaits: list[Await] = []
        self.holds: list[Hold] = []
        self.resets = 0
        self.wakeups: list[commands.RequestWakeup] = []
        self.uploading: list[bool] = []
        super().__init__(HTTPMode.transparent, **more)

    def _execute(self, command: commands.Command) -> None:
        if isinstance(command, Await):
            self.awaits.append(command)
        elif isinstance(command, Hold):
            self.holds.append(command)
        elif isinstance(command, Reset):
            self.resets += 1
        elif isinstance(command, commands.RequestWakeup):
            self.wakeups.append(command)
        elif isinstance(command, Uploading):
            self.uploading.append(command.over)
        else:
            super()._execute(command)

    async def room(self, connection: Connection, stream_id: int) -> None:
        """There always is."""

    async def finish(self, *, failed: bool = False) -> None:
        """The oldest job ends."""
        command = self.awaits.pop(0)
        reply = None if failed else await command.job(self)
        self.run(Awaited(command, reply, failed))

    async def finish_all(self) -> None:
        while self.awaits:
            await self.finish()

    @property
    def hooks_seen(self) -> list[str]:
        return [name for name, _ in self.seen]
