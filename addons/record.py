"""The end of every task, exactly once: notes to the audit record, before the answer is released."""

from mitmproxy.http import HTTPFlow

from addons.blame import blame
from addons.carry import conn_of, is_ours, known_task, task_of
from addons.finish import Finish
from appliance.domain.not_scanned import NotScanned
from appliance.domain.reason import Reason
from appliance.engine.messages import JUDGES


class Record:
    def __init__(self, finish: Finish) -> None:
        self._finish = finish

    def responseheaders(self, flow: HTTPFlow) -> None:
        notes = task_of(flow)
        if flow.response is not None and not is_ours(flow):
            notes.upstream_status = flow.response.status_code
            notes.response_type = flow.response.headers.get("content-type", "")
            notes.stage = "responded"

    def response(self, flow: HTTPFlow) -> None:
        notes = task_of(flow)
        if flow.response is not None:
            notes.status = flow.response.status_code
        if flow.websocket is not None:
            notes.kind = "websocket"
            if not _judged(flow):
                notes.not_scanned.append(NotScanned.WEBSOCKET.word)
            return  # its end is ``websocket_end``
        notes.stage = "finished"
        self._finish.flow(flow, notes)

    def websocket_end(self, flow: HTTPFlow) -> None:
        notes = task_of(flow)
        notes.stage = "finished"
        self._finish.flow(flow, notes)

    def websocket_message(self, flow: HTTPFlow) -> None:
        """Count, and let go of the message: mitmproxy would keep every one until the end."""
        notes = task_of(flow)
        if flow.websocket is None:
            return
        sent, received = notes.websocket_frames
        for message in flow.websocket.messages[:-1]:
            message.content = b""
        last = flow.websocket.messages[-1]
        notes.websocket_frames = (sent + 1, received) if last.from_client else (sent, received + 1)
        del flow.websocket.messages[:-1]

    def error(self, flow: HTTPFlow) -> None:
        notes = known_task(flow)
        if notes is None:
            return  # refused before it was a request; the strict layer's observer has recorded it
        message = flow.error.msg if flow.error else ""
        reason, detail = blame(message, notes)
        notes.fail(reason, detail)
        conn = conn_of(flow.client_conn)
        held = flow.response is None or not flow.response.stream
        if held and not notes.recorded and reason is not Reason.CLIENT_CLOSED:
            conn.failed = notes  # the client has seen nothing yet, and gets this task's page
            conn.failed_accept = flow.request.headers.get("accept", "")
            notes.status = notes.reason.status
        self._finish.flow(flow, notes)


def _judged(flow: HTTPFlow) -> bool:
    """Every message of both directions is."""
    return all(judge in flow.metadata for judge in JUDGES.values())
