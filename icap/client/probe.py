"""Whether a scanner scans: an infected and a clean message, because OPTIONS answers 200 with a dead scanner too."""

from dataclasses import dataclass
from typing import Final

from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome
from icap.client.message import Adapted, Message, Method
from icap.protocol.checks import HOST, URL

# The EICAR test file, written backwards: a virus scanner that looks at this source must not find it.
EICAR: Final = rb"*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\4[PA@%P!O5X"[::-1]
CLEAN: Final = b"a clean message\n"
_REQUEST: Final = b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (URL, HOST)
_UPLOAD: Final = b"POST %b HTTP/1.1\r\nHost: %b\r\n" % (URL, HOST)
_TYPE: Final = b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Health:
    """``ok``: the infected message was blocked and the clean one passed. ``detail``: why not, or what was found."""

    ok: bool
    detail: str = ""
    ms: float = 0.0
    reason: Reason = Reason.OK

    @property
    def transient(self) -> bool:
        """It could not be asked, which may be over in a moment. A wrong answer is one at once."""
        return not self.ok and self.reason is not Reason.ICAP_UNHEALTHY


def probe_message(method: Method, body: bytes) -> Message:
    fields = _TYPE % len(body)
    if method == "RESPMOD":
        return Message(method, _REQUEST, b"HTTP/1.1 200 OK\r\n" + fields, body)
    return Message(method, _UPLOAD + fields, None, body)


_NO_SCANNER: Final = ": its scanner does not work, or it is no virus scanner, which `health: null` says"


def read_health(infected: Adapted, clean: Adapted) -> Health:
    """Anything but blocked and passed, in this order, is not healthy."""
    ms = infected.verdict.ms + clean.verdict.ms
    for name, adapted, wanted in (("infected", infected, Outcome.BLOCKED), ("clean", clean, Outcome.CLEAN)):
        verdict = adapted.verdict
        if verdict.outcome is Outcome.ERROR:
            return Health(False, f"{verdict.reason.word}: {verdict.detail}", ms, verdict.reason)
        if verdict.outcome is not wanted:
            text = f"the {name} test message came back {verdict.outcome.value}"
            return Health(False, text + (_NO_SCANNER if name == "infected" else ""), ms, Reason.ICAP_UNHEALTHY)
    return Health(True, infected.verdict.signature, ms)
