"""A parent proxy that refuses our credentials: its 407 is ours to handle, the client has no password to give it."""

from mitmproxy.http import HTTPFlow

from addons.carry import Pages, answer, is_ours, task_of
from appliance.domain.reason import Reason


class Parent:
    """Plain HTTP reaches a parent in absolute form, so its refusal looks like an answer; a refused CONNECT is the dialer's."""

    def __init__(self, page: Pages) -> None:
        self._page = page

    def responseheaders(self, flow: HTTPFlow) -> None:
        if is_ours(flow) or flow.response is None or flow.response.status_code != 407 or not _through_parent(flow):
            return
        notes = task_of(flow)
        notes.upstream_status = 407
        notes.fail(Reason.UPSTREAM_AUTH_FAILED)
        answer(flow, self._page(notes, flow.request.headers.get("accept", "")), notes)


def _through_parent(flow: HTTPFlow) -> bool:
    """The handler leaves this mark on connections to a parent that takes requests in absolute form."""
    return getattr(flow.server_conn, "arcus_parent_auth", None) is not None
