"""The matrix of faults and actions: what happens when a server's certificate is bad."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Final

from appliance.config.upstream_certificates import CertificateException, UpstreamCertificates
from appliance.domain.hostmatch import HostMatcher, domain_matcher
from appliance.domain.reason import Reason

PREFIX: Final = "upstream_cert_"
_BY_WORD: Final = {reason.word: reason for reason in Reason}


class CertAction(Enum):
    """In the order of their strictness, the strictest first."""

    BLOCK = "block"
    SPLICE = "splice"
    WARN = "warn"
    UNTRUSTED_CA = "untrusted_ca"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do about a fault, and the exception or setting that says so."""

    action: CertAction
    rule: str = "default"


ALWAYS_BLOCKED: Final = Choice(CertAction.BLOCK, "always")


@dataclass(frozen=True, slots=True)
class _Exception:
    hosts: HostMatcher[bool]
    reasons: frozenset[Reason]
    until: date | None
    choice: Choice

    def holds(self, reason: Reason, host: str, today: date) -> bool:
        return (
            (not self.reasons or reason in self.reasons)
            and (self.until is None or today <= self.until)
            and self.hosts.find(host) is not None
        )


class CertificateMatrix:
    """Pure: the same arguments have the same answer."""

    def __init__(self, config: UpstreamCertificates) -> None:
        self.config = config
        self._exceptions = tuple(_compile(each) for each in config.exceptions)
        self._causes = {
            reason_of_cause(cause): Choice(CertAction(action), f"causes.{cause}") for cause, action in config.causes.items()
        }
        self._default = Choice(CertAction(config.default))

    def decide(self, reason: Reason, host: str, now: float) -> Choice:
        """What to do about the fault ``reason`` of a certificate for ``host``; ``now`` is seconds since the epoch."""
        if reason is Reason.UPSTREAM_CERT_OWN_CA or not reason.word.startswith(PREFIX):
            return ALWAYS_BLOCKED
        today = datetime.fromtimestamp(now, UTC).date()
        for each in self._exceptions:
            if each.holds(reason, host, today):
                return each.choice
        return self._causes.get(reason, self._default)

    def uses(self, action: CertAction) -> bool:
        """Whether any fault can lead to this action."""
        return self.config.uses(action.value)


def strictest(choices: Sequence[Choice]) -> Choice:
    """Of the choices for several faults of one certificate, the one that counts."""
    order = list(CertAction)
    return min(choices, key=lambda choice: order.index(choice.action))


def reason_of_cause(cause: str) -> Reason:
    """The reason word of a cause as configuration writes it."""
    return _BY_WORD[PREFIX + cause]


def _compile(exception: CertificateException) -> _Exception:
    return _Exception(
        domain_matcher(exception.hosts),
        frozenset(map(reason_of_cause, exception.causes)),
        exception.until,
        Choice(CertAction(exception.action), exception.name),
    )
