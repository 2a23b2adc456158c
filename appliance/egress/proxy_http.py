"""``proxy_http``: an HTTP parent. CONNECT for TLS and tunnels, absolute form for plain requests."""

from appliance.config.escaper import ProxyHttp as ProxyHttpConfig
from appliance.config.escaper import ProxyHttps as ProxyHttpsConfig
from appliance.domain.clock import Clock
from appliance.domain.notes import EscapeNotes
from appliance.egress.connect_method import basic_credentials, request_tunnel
from appliance.egress.context import EscapeContext
from appliance.egress.escaper import Dialed
from appliance.egress.guard import OwnListeners
from appliance.egress.opener import Opener, Stream
from appliance.egress.parent import Parent
from appliance.egress.phases import phase
from appliance.egress.resolver import Resolver
from appliance.egress.tries import Deadline


class ProxyHttp(Parent):
    """The parent resolves the name: none of ours is asked about the target."""

    def __init__(self, config: ProxyHttpConfig | ProxyHttpsConfig, resolver: Resolver, own: OwnListeners, clock: Clock) -> None:
        """Raises ValueError for ``auth`` that Basic cannot carry."""
        super().__init__(config, resolver, own, clock)
        self._authorization = basic_credentials(config.auth)

    async def escape(self, ctx: EscapeContext, opener: Opener, notes: EscapeNotes) -> Dialed:
        self.admit(ctx.target)
        until = self.deadline()
        stream = await self.dial(opener, notes, until)
        if ctx.protocol == "http":
            return Dialed(*stream, notes, absolute_form=True, proxy_authorization=self._authorization)
        with phase(notes, "handshake", self.clock):
            await request_tunnel(stream, self.name, ctx.target, self._authorization, until.left())
        return Dialed(*stream, notes)

    async def dial(self, opener: Opener, notes: EscapeNotes, until: Deadline) -> Stream:
        """A stream to the parent, ready for its first request."""
        return await self.open(opener, notes, until)
