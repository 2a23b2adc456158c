"""The network, asked once from a command as live traffic asks it: where a name leads, and what its server shows."""

import asyncio
from collections.abc import Coroutine

from appliance.app.keys import public_authorities
from appliance.app.parts import own_listeners
from appliance.app.upstream import Upstream
from appliance.config.root import AppConfig
from appliance.config.survey import Survey as SurveyConfig
from appliance.domain.clock import SystemClock
from appliance.domain.ids import TenantId
from appliance.domain.notes import ConnNotes
from appliance.domain.target import Target
from appliance.domain.upstream import UpstreamFacts
from appliance.egress.context import EscapeContext
from appliance.egress.dialer import Dialer
from appliance.egress.escaper import Dialed
from appliance.egress.registry import Registry
from appliance.engine.survey import Survey, Surveyor


class Looking:
    """``appliance.explain_tls.Network``. Use ``close`` at the end."""

    def __init__(self, config: AppConfig) -> None:
        """Raises ConfigError: CAs or roots that cannot be loaded."""
        clock = SystemClock()
        self._trusts = Upstream(config, public_authorities(config), clock).trusts()
        self._survey_configs = {
            TenantId(tenant.tenant_id): next(
                each.tls_interception.survey if each.tls_interception else SurveyConfig()
                for each in config.auditor
                if each.name == tenant.auditor
            )
            for tenant in config.tenant
        }
        self._registry = Registry.from_config(config.escaper, config.resolver, own_listeners(config), clock)
        self._dialer = Dialer(self._registry)
        self._clock = clock

    def close(self) -> None:
        self._registry.close()

    def addresses(self, root: str, conn: ConnNotes, target: Target) -> tuple[str, ...]:
        """Raises TaskError."""
        return _now(self._dialer.addresses(root, _context(conn, target)))

    def look(self, root: str, conn: ConnNotes, target: Target, sni: str) -> UpstreamFacts:
        """One handshake with the server, by the tenant's way out and under its trust."""

        async def dial(conn: ConnNotes, address: tuple[str, int], protocol: str) -> Dialed:
            return await self._dialer.connect(root, _context(conn, Target(*address), protocol))

        tenant = conn.tenant or TenantId("")
        surveyors = {tenant: Surveyor(self._trusts[tenant], self._survey_configs[tenant])}
        return _now(Survey(dial, surveyors, lambda _: root, self._clock).look(conn, target, sni, ("h2", "http/1.1")))


def _context(conn: ConnNotes, target: Target, protocol: str = "tls") -> EscapeContext:
    user = conn.user.name if conn.user else ""
    return EscapeContext(conn.tenant or TenantId(""), target, conn.client.ip, user, protocol)  # type: ignore[arg-type]


def _now[T](asking: Coroutine[object, object, T]) -> T:
    async def run() -> T:
        found = await asking
        await asyncio.sleep(0)  # the connection that was looked at is closed by a callback
        return found

    return asyncio.run(run())
