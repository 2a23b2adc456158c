"""What the bodies under way in one worker may take."""

from appliance.app.paths import StatePaths
from appliance.config.bodies import HeldBodies
from icap.client import Room


def held_bodies(config: HeldBodies, paths: StatePaths) -> Room:
    """The budget; its folder is made here."""
    paths.bodies.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Room(config.memory, config.disk, directory=paths.bodies)
