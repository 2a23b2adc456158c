"""The test origin as a child process."""

import socket
from collections.abc import Mapping

from appliance.app.parts import departure
from appliance.app.paths import StatePaths
from appliance.config.root import AppConfig
from appliance.demo import origin
from appliance.engine.stage import Stage


async def run(config: AppConfig, sockets: Mapping[str, socket.socket], index: int, stage: Stage) -> None:
    """Serve until a signal."""
    leave = departure(config)
    await stage.enter()
    await origin.serve(StatePaths(config.state_dir).demo, sockets["https"], sockets["http"], leave.begun)
