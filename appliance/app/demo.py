"""The test origin as a child process."""

import signal
import socket
from collections.abc import Mapping

from appliance.app.parts import stop_on
from appliance.app.paths import StatePaths
from appliance.config.root import AppConfig
from appliance.demo import origin


async def run(config: AppConfig, sockets: Mapping[str, socket.socket], index: int) -> None:
    """Serve until a signal."""
    stop, _ = stop_on((signal.SIGTERM, signal.SIGINT))
    await origin.serve(StatePaths(config.state_dir).demo, sockets["https"], sockets["http"], stop)
