"""`arcus run`: load, prepare the state directory, and hand over to the parent process."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from appliance import sources, telemetry
from appliance.app.apart import apart
from appliance.app.clamav import with_running_clamd
from appliance.app.paths import StatePaths
from appliance.app.preparation import digest, make_keys
from appliance.config.load import load
from appliance.demo import origin
from appliance.domain.clock import SystemClock
from appliance.domain.errors import ConfigError, Problem
from appliance.hardening import leave_no_trace
from appliance.telemetry.logs import configure


def run(path: Path | None) -> int:
    """Run the appliance until SIGTERM or SIGINT. Without a path: the embedded default. The exit status.

    Raises:
        ConfigError: the configuration, a CA, a port or the state directory cannot be used; nothing was started.
    """
    os.umask(0o077)
    stamp = sources.fingerprint()
    file = path or _embedded()
    loaded = load(file)
    config = loaded.config
    configure(config.log.level, config.log.target)
    paths = StatePaths(config.state_dir)
    with only_one(paths):
        _forget_last_run(paths)
        leave_no_trace()
        # keys are for the signer's memory, not for this one's, from which every other process is started
        apart(lambda: make_keys(config, paths))
        telemetry.setup(paths.metrics, fresh=True)
        # prometheus_client may be imported only after the set-up above
        from appliance.app.parent_process import Parent
        from appliance.app.standing import Standing, authorities

        found = with_running_clamd(config)
        standing = Standing(config, found, file, digest(loaded), 1, SystemClock().now(), authorities(config))
        return asyncio.run(Parent(standing, paths, path, stamp).run())


def _forget_last_run(paths: StatePaths) -> None:
    """A run that was killed has left its health behind, and would be taken for this one's."""
    for file in (*paths.run.glob("health-*.json"), *paths.run.glob("signer-*.sock")):
        file.unlink(missing_ok=True)


def _embedded() -> Path:
    """The default's text, with the test origin's CA made before it is looked for."""
    target = StatePaths(Path("state"))
    target.root.mkdir(mode=0o700, exist_ok=True)
    origin.ensure_ca(target.demo)
    text = files("appliance.config").joinpath("embedded.yaml").read_text(encoding="utf-8")
    copy = target.root / "default.yaml"
    copy.write_text(text.replace("./state", str(target.root.absolute())), encoding="utf-8")
    return copy


@contextlib.contextmanager
def only_one(paths: StatePaths) -> Iterator[None]:
    """Make the state directory, and hold it: two appliances on one would write each other's audit log. Raises ConfigError."""
    try:
        paths.create()
    except OSError as error:
        raise ConfigError([Problem(f"cannot be used: {error.strerror}", "state_dir", str(error.filename))]) from error
    with (paths.run / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            message = "another Arcus is running on this directory; stop it, or set another state_dir"
            raise ConfigError([Problem(message, "state_dir", str(paths.root))]) from error
        yield
