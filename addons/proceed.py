"""Going on from a warning: the button's request, which is answered here and reaches no server."""

from typing import Protocol

from mitmproxy.http import HTTPFlow

from addons.carry import Pages, answer, conn_of, task_of, verified_name
from appliance.domain.errors import PolicyError
from appliance.domain.ids import TenantId
from appliance.domain.notes import TaskNotes
from appliance.domain.proceed import Warned
from appliance.domain.reason import Reason
from appliance.domain.target import normalise_host
from appliance.policy.warning import BUTTON, Gone, is_navigation, own_button


class Warnings(Protocol):
    """See ``appliance.policy.warning``."""

    def offers(self, tenant: TenantId) -> bool: ...
    def go_on(self, token: str, asking: Warned) -> Gone: ...


class Proceed:
    def __init__(self, warnings: Warnings, page: Pages) -> None:
        self._warnings = warnings
        self._page = page

    def requestheaders(self, flow: HTTPFlow) -> None:
        if flow.response is not None:
            return
        notes = task_of(flow)
        if notes.conn.hello is None or not self._warnings.offers(notes.conn.tenant or TenantId("")):
            return
        path, _, query = flow.request.path.partition("?")
        if path != BUTTON:
            notes.navigation = is_navigation(flow.request.method, flow.request.headers)
            return
        notes.path = path  # the token is a secret of the page
        try:
            if flow.request.method != "POST" or not own_button(
                flow.request.headers, flow.request.pretty_host, flow.request.port
            ):
                raise PolicyError(Reason.PROCEED_CROSS_SITE, flow.request.headers.get("origin", "")[:200])
            gone = self._warnings.go_on(query.removeprefix("token="), _asking(flow, notes))
        except PolicyError as error:
            notes.fail(error.reason, error.detail)
            answer(flow, self._page(notes, flow.request.headers.get("accept", "")), notes)
            return
        notes.detail = gone.detail
        flow.server_conn.error = None  # the connection that was refused is tried anew
        answer(flow, gone, notes)


def _asking(flow: HTTPFlow, notes: TaskNotes) -> Warned:
    conn = conn_of(flow.client_conn)
    host = normalise_host(verified_name(flow.client_conn, flow.server_conn))
    port = flow.server_conn.address[1] if flow.server_conn.address else 0
    return Warned(conn.tenant or TenantId(""), conn.client.ip, conn.user.name if conn.user else "", host, port, "", "")
