"""Runs the admin process alone on a configuration: ``admin_child.py CONFIG``; prints its port."""

import asyncio
import socket
import sys
from pathlib import Path

from appliance.app.paths import StatePaths
from appliance.config.load import load
from appliance.telemetry import setup


def main() -> None:
    config = load(Path(sys.argv[1])).config
    paths = StatePaths(config.state_dir)
    paths.create()
    setup(paths.metrics)
    from appliance.app.admin import run
    from appliance.engine.stage import Stage

    sock = socket.create_server(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    asyncio.run(run(config, {"admin": sock}, 0, Stage()))


if __name__ == "__main__":
    main()
