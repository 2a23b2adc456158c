"""Services that answer as they are told, without a network."""

from appliance.domain.reason import Reason
from appliance.domain.verdict import Outcome, ScanVerdict
from icap.client import Adapted, Message

CLEAN, BLOCKED, ERROR, BYPASSED = Outcome.CLEAN, Outcome.BLOCKED, Outcome.ERROR, Outcome.BYPASSED
TIMEOUT, OVERLOAD = Reason.ICAP_TIMEOUT, Reason.ICAP_OVERLOAD


def answer(name: str, outcome: Outcome = CLEAN, reason: Reason = Reason.OK, method: str = "RESPMOD") -> Adapted:
    return Adapted(ScanVerdict(name, method, outcome, reason))


def failing(name: str, reason: Reason = TIMEOUT) -> Adapted:
    return answer(name, ERROR, reason)


class Fake:
    """Answers in turn, the last one again and again; keeps what it was shown."""

    def __init__(self, *answers: Adapted) -> None:
        self.answers = list(answers)
        self.shown: list[Message] = []

    async def adapt(self, message: Message) -> Adapted:
        self.shown.append(message)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def trail(adapted: Adapted) -> list[tuple[str, str]]:
    """Who was asked, and what each said."""
    return [(verdict.service, verdict.outcome.value) for verdict in adapted.verdicts]
