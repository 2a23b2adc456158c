"""The network, asked once from a command as live traffic asks it: where a name leads, and what its server shows."""

import asyncio
from collections.abc import Coroutine

from appliance.app.keys import public_authorities
from appliance.app.parts import own_listeners
from appliance.app.upstream import Upstream
from appliance.app.ways_out import WaysOut
from appliance.config.root import AppConfig
from appliance.domain.clock import SystemClock
from appliance.domain.notes import ConnNotes
from appliance.domain.target import Target
from appliance.domain.upstream import UpstreamFacts
from appliance.egress.dialer import Dialer
from appliance.egress.registry import Registry
from appliance.engine.survey import Survey


class Looking:
    """``appliance.explain_tls.Network``. Use ``close`` at the end."""

    def __init__(self, config: AppConfig) -> None:
        """Raises ConfigError: CAs or roots that cannot be loaded."""
        clock = SystemClock()
        upstream = Upstream(config, public_authorities(config), clock)
        self._surveyors = upstream.surveyors(upstream.trusts())
        self._registry = Registry.from_config(config.escaper, config.resolver, own_listeners(config), clock)
        self._dialer = Dialer(self._registry)
        self._clock = clock

    def close(self) -> None:
        self._registry.close()

    def addresses(self, root: str, conn: ConnNotes, target: Target) -> tuple[str, ...]:
        """Raises TaskError."""
        return _now(self._ways(root).resolve(conn, target))

    def look(self, root: str, conn: ConnNotes, target: Target, sni: str) -> UpstreamFacts:
        """One handshake with the server, by the tenant's way out and under its trust."""
        survey = Survey(self._ways(root).dial, self._surveyors, lambda _: root, self._clock)
        return _now(survey.look(conn, target, sni, ("h2", "http/1.1")))

    def _ways(self, root: str) -> WaysOut:
        return WaysOut(self._dialer, lambda _: root)


def _now[T](asking: Coroutine[object, object, T]) -> T:
    async def run() -> T:
        found = await asking
        await asyncio.sleep(0)  # the connection that was looked at is closed by a callback
        return found

    return asyncio.run(run())
