"""`arcus icap serve`: prepare the state directory, and hand over to the parent process."""

import asyncio
import os

from appliance import telemetry
from appliance.app.parent import only_one
from appliance.app.paths import StatePaths
from appliance.config.root import AppConfig
from appliance.telemetry.logs import configure


def serve(config: AppConfig) -> int:
    """Serve until SIGTERM or SIGINT. The exit status.

    Raises:
        ConfigError: a port, a socket or the state directory cannot be used; nothing was started.
    """
    os.umask(0o077)
    configure(config.log.level, config.log.target)
    paths = StatePaths(config.state_dir)
    with only_one(paths):
        for file in paths.run.glob("health-*.json"):
            file.unlink(missing_ok=True)
        telemetry.setup(paths.metrics, fresh=True)
        from appliance.app.icap_parent import IcapParent  # prometheus_client may be imported only after the set-up above

        return asyncio.run(IcapParent(config, paths).run())
