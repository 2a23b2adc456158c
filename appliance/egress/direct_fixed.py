"""``direct_fixed``: connects to the destination itself, from fixed local addresses, past the egress guard."""

from appliance.config.escaper import DirectFixed as DirectFixedConfig
from appliance.domain.clock import Clock
from appliance.domain.errors import PolicyError, UpstreamError
from appliance.domain.notes import EscapeNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.egress.context import EscapeContext
from appliance.egress.escaper import Dialed, Identity
from appliance.egress.guard import EgressGuard, OwnListeners
from appliance.egress.opener import Opener
from appliance.egress.phases import phase
from appliance.egress.resolver import Resolver
from appliance.egress.tries import Deadline, LocalAddresses, order, try_each


class DirectFixed(Identity):
    """Resolves, drops what the guard refuses, connects to what is left: the address judged is the address dialled, so a
    name that changes its answer between two lookups (DNS rebinding) gains nothing."""

    def __init__(self, config: DirectFixedConfig, resolver: Resolver, own: OwnListeners, clock: Clock) -> None:
        super().__init__(config.name, config.type, frozenset(config.tenants))
        self._config, self._resolver, self._clock = config, resolver, clock
        self._guard = EgressGuard(own, config.egress_network_filter.allow, config.egress_network_filter.deny)
        self._local = LocalAddresses(config.bind_ip)

    async def escape(self, ctx: EscapeContext, opener: Opener, notes: EscapeNotes) -> Dialed:
        target = ctx.target
        notes.next_hop = str(target)
        with phase(notes, "dns", self._clock):
            addresses = self._usable(target, await self.addresses(ctx), notes)
        with phase(notes, "connect", self._clock):
            reader, writer = await try_each(
                addresses,
                1 + self._config.retry_attempts,
                Deadline(self._clock, self._config.connect_timeout),
                notes,
                lambda ip, timeout: opener.open(ip, target.port, self._local.source(ip), timeout),
            )
        return Dialed(reader, writer, notes)

    async def addresses(self, ctx: EscapeContext) -> tuple[str, ...]:
        return ctx.addresses_from(self._resolver.name) or await self._resolver.resolve(ctx.target.host)

    def admits(self, target: Target, ip: str) -> bool:
        return bool(ip) and not self._guard.refusal(ip, target.port)

    def _usable(self, target: Target, resolved: tuple[str, ...], notes: EscapeNotes) -> list[str]:
        """A name with one open and one refused address is reached on the open one alone."""
        verdicts = {ip: self._guard.refusal(ip, target.port) for ip in resolved}
        permitted = [ip for ip, refused in verdicts.items() if not refused]
        if not permitted:
            notes.resolved_ip = resolved[0]
            raise PolicyError(Reason.EGRESS_DENIED, f"{target.host} is {_spelled(verdicts)}")
        addresses = self._local.reachable(order(permitted, self._config.resolve_strategy))
        if not addresses:
            detail = f"{target.host} is {', '.join(permitted)}: none that {self._config.resolve_strategy} and bind_ip admit"
            raise UpstreamError(Reason.CONNECT_FAILED, detail)
        return addresses


def _spelled(verdicts: dict[str, str]) -> str:
    return ", ".join(f"{ip} ({word})" for ip, word in verdicts.items())
