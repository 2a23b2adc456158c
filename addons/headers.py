"""Header fields that are for us, or that would lead clients around us."""

from mitmproxy.http import HTTPFlow

from addons.carry import drop_fields, is_ours

REQUEST_ONLY_OURS = frozenset((b"x-tenant-id", b"proxy-authorization", b"proxy-connection"))
"""Never forwarded: the tenant is ours to tell, and the credentials are for us (RFC 9110 section 11.7.2)."""
NEVER_TO_CLIENTS = frozenset((b"alt-svc", b"proxy-authenticate"))


class Headers:
    def request(self, flow: HTTPFlow) -> None:
        drop_fields(flow.request.headers, REQUEST_ONLY_OURS)

    def requestheaders(self, flow: HTTPFlow) -> None:
        if flow.request.stream:
            self.request(flow)  # a streamed request leaves before its ``request`` hook

    def responseheaders(self, flow: HTTPFlow) -> None:
        if flow.response is not None and not is_ours(flow):
            # An alternative service (RFC 7838) would be reached over QUIC, which is not inspected.
            drop_fields(flow.response.headers, NEVER_TO_CLIENTS)
