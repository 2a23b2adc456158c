"""A configuration is read and checked, and keys are made, in a process of its own: what it has seen leaves with it.

The parent starts every other process, so no CA's key may ever have been in its memory. At start a fork does the work
(``app.apart``); a parent that runs has threads, and starts this module: ``python -m appliance.app.preparation FD FILE STATE``.
"""

import asyncio
import os
import pickle
import sys
from collections.abc import Mapping
from dataclasses import astuple
from hashlib import sha256
from pathlib import Path

from appliance import sources
from appliance.app import untrusted
from appliance.app.parts import authorities
from appliance.app.paths import StatePaths
from appliance.app.quarantine_keys import make_keys as make_quarantine_keys
from appliance.app.sample_keys import make_keys as make_sample_keys
from appliance.app.soundness import examine
from appliance.config.load import Loaded, load
from appliance.config.places import located
from appliance.config.root import AppConfig
from appliance.domain.errors import ConfigError, Problem
from appliance.hardening import die_with_parent, leave_no_trace
from certs import sealing

OTHER_CODE = "Arcus was replaced on disk while it runs: restart it as a whole"


def make_keys(config: AppConfig, paths: StatePaths) -> None:
    """Make what is missing, and check what is there. Raises ConfigError."""
    authorities(config)
    untrusted.authorities(config)
    if config.redis is not None:
        try:
            sealing.ensure(paths.leaf_cache_key)
        except OSError as error:
            raise ConfigError([Problem(f"cannot be made: {error.strerror}", file=str(paths.leaf_cache_key))]) from error
        sealing.load(paths.leaf_cache_key)
    try:
        make_quarantine_keys(config)
        make_sample_keys(config)
    except OSError as error:
        raise ConfigError([Problem(f"cannot be made: {error.strerror}", file=str(paths.quarantine_keys))]) from error


def digest(loaded: Loaded) -> str:
    """SHA-256 of the file's text, in hex."""
    return sha256(loaded.text.encode()).hexdigest()


def prepare(file: Path, state: Path) -> Loaded:
    """What the file says, when everything it needs is there and sound. Call it where nobody's secrets matter.

    Raises:
        ConfigError: with every problem; nothing has changed for whoever runs on ``state``.
    """
    loaded = load(file)
    if loaded.config.state_dir != state:
        fixed = Problem(f"cannot change while Arcus runs (it is {state}): restart it", "state_dir")
        raise ConfigError(located([fixed], loaded.text, str(file)))
    try:
        examine(loaded.config)
        make_keys(loaded.config, StatePaths(state))
    except ConfigError as error:
        raise ConfigError(located(error.problems, loaded.text, str(file))) from error
    return loaded


async def prepared(file: Path, state: Path, stamp: str, environment: Mapping[str, str], patience: float) -> Loaded:
    """As ``prepare``, in a process of its own. ``stamp``: the code that we run.

    Raises:
        ConfigError: also when the process fails, or runs other code.
    """
    with os.fdopen(os.memfd_create("arcus"), "rb") as told:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-O", "-m", "appliance.app.preparation", str(told.fileno()), str(file), str(state),
            pass_fds=[told.fileno()], env=dict(environment), start_new_session=True, stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            status = await asyncio.wait_for(process.wait(), patience)
        except TimeoutError:
            raise ConfigError([Problem(f"not checked within {patience:g} s", file=str(file))]) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        told.seek(0)
        return _understood(told.read(), status, file, stamp)


def _understood(told: bytes, status: int, file: Path, stamp: str) -> Loaded:
    answer = pickle.loads(told) if told else {}  # noqa: S301 - written by our own child into memory that nobody else can open
    if answer and answer["stamp"] != stamp:
        raise ConfigError([Problem(OTHER_CODE)])
    if status != 0 or not answer:
        raise ConfigError([Problem(f"could not be checked: that process ended with status {status}", file=str(file))])
    if answer["problems"]:
        raise ConfigError([Problem(*each) for each in answer["problems"]])
    loaded: Loaded = pickle.loads(answer["loaded"])  # noqa: S301 - as above
    return loaded


def main() -> None:
    die_with_parent()
    leave_no_trace()
    fd, file, state = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    problems: list[tuple[object, ...]] = []
    loaded = None
    try:
        loaded = prepare(file, state)
    except ConfigError as error:
        problems = [astuple(problem) for problem in error.problems]
    answer = {"stamp": sources.fingerprint(), "problems": problems, "loaded": pickle.dumps(loaded)}
    with os.fdopen(fd, "wb") as stream:
        stream.write(pickle.dumps(answer))


if __name__ == "__main__":
    main()
