"""What the control socket's commands do."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from appliance import __version__
from appliance.app.reload import Outcome, Reloader
from appliance.control.protocol import Request
from appliance.engine.child import Child
from appliance.engine.generation import Generation
from appliance.engine.supervisor import Supervisor


class Commands:
    """For ``ControlServer``."""

    def __init__(self, reloader: Reloader, supervisor: Supervisor) -> None:
        self._reloader = reloader
        self._supervisor = supervisor

    async def answer(self, request: Request, user: int) -> dict[str, Any]:
        if request.command == "status":
            return self._status()
        file = Path(request.config) if request.config is not None else None
        return _told(await self._reloader.reload(file, f"uid {user}"))

    def _status(self) -> dict[str, Any]:
        standing, last = self._reloader.standing, self._reloader.last
        processes = [
            _process(generation, child) for generation in self._supervisor.generations() for child in generation.children
        ]
        return {
            "arcus": __version__,
            "generation": standing.number,
            "config": {"file": str(standing.file), "sha256": standing.sha256, "since": standing.since},
            "last_reload": _told(last) if last is not None else None,
            "reloading": self._reloader.busy,
            "processes": processes,
        }


def _told(outcome: Outcome) -> dict[str, Any]:
    return {"ok": outcome.ok} | asdict(outcome)


def _process(generation: Generation, child: Child) -> dict[str, Any]:
    serving = "serving" if child.arrived.is_set() else "starting"
    return {
        "name": child.name,
        "pid": child.process.pid if child.process is not None and child.alive else None,
        "generation": generation.number,
        "state": "draining" if generation.leaving else serving,
        "since": child.since,
        "restarts": child.restarts,
    }
