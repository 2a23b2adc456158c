"""Header fields that are for us, or that would lead clients around us."""

from collections.abc import Mapping

from mitmproxy.http import HTTPFlow

from addons.alternatives import answer_offer, note_use
from addons.carry import drop_fields, is_ours, known_task
from appliance.domain.ids import TenantId

REQUEST_ONLY_OURS = frozenset((b"x-tenant-id", b"proxy-authorization", b"proxy-connection"))
"""Never forwarded: the tenant is ours to tell, and the credentials are for us (RFC 9110 section 11.7.2)."""
NEVER_TO_CLIENTS = frozenset((b"proxy-authenticate",))


class Headers:
    """``alt_svc``: what each tenant's clients are told of alternative services (``config.auditor``); ``strip`` otherwise."""

    def __init__(self, alt_svc: Mapping[TenantId, str]) -> None:
        self._alt_svc = alt_svc

    def request(self, flow: HTTPFlow) -> None:
        drop_fields(flow.request.headers, REQUEST_ONLY_OURS)
        if (notes := known_task(flow)) is not None:
            note_use(flow, notes, self._mode(flow))

    def requestheaders(self, flow: HTTPFlow) -> None:
        if flow.request.stream:
            self.request(flow)  # a streamed request leaves before its ``request`` hook

    def responseheaders(self, flow: HTTPFlow) -> None:
        if flow.response is not None and not is_ours(flow):
            drop_fields(flow.response.headers, NEVER_TO_CLIENTS)
            # An alternative service (RFC 7838) would be reached over QUIC, or elsewhere, which is not inspected.
            answer_offer(flow.response.headers, self._mode(flow), flow.request.host, flow.request.port)

    def _mode(self, flow: HTTPFlow) -> str:
        notes = known_task(flow)
        tenant = notes.conn.tenant if notes is not None else None
        return self._alt_svc.get(tenant, "strip") if tenant is not None else "strip"
