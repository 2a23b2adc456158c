"""``proxy_https``: an HTTP parent behind TLS, whose certificate is verified before a credential is sent."""

import ssl

from appliance.config.escaper import ProxyHttps as ProxyHttpsConfig
from appliance.config.escaper import TlsClient
from appliance.domain.clock import Clock
from appliance.domain.notes import EscapeNotes
from appliance.egress.guard import OwnListeners
from appliance.egress.opener import Opener, Stream
from appliance.egress.phases import phase
from appliance.egress.proxy_http import ProxyHttp
from appliance.egress.resolver import Resolver
from appliance.egress.tries import Deadline


class ProxyHttps(ProxyHttp):
    def __init__(self, config: ProxyHttpsConfig, resolver: Resolver, own: OwnListeners, clock: Clock) -> None:
        """Raises ValueError when ``ca_certificate`` cannot be used."""
        super().__init__(config, resolver, own, clock)
        self._context = client_context(config.tls_client)
        self._server_name = config.tls_client.server_name or config.proxy_addr.host

    async def dial(self, opener: Opener, notes: EscapeNotes, until: Deadline) -> Stream:
        stream = await self.open(opener, notes, until)
        with phase(notes, "handshake", self.clock):
            await opener.secure(stream, self._context, self._server_name, until.left())
        return stream


def client_context(config: TlsClient) -> ssl.SSLContext:
    """TLS 1.2 or later; names count from the SAN only (RFC 9525 section 6.2); given roots replace the system's."""
    try:
        context = ssl.create_default_context(cafile=config.ca_certificate)
    except OSError as error:
        raise ValueError(f"tls_client.ca_certificate {config.ca_certificate}: {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    return context
