"""Conditions on what a server shows."""

from collections.abc import Callable, Iterable

from appliance.config.decrypt_rule import CertificateCondition
from appliance.domain.hostmatch import check_pattern
from appliance.domain.upstream import UpstreamFacts

type _Holds = Callable[[UpstreamFacts], bool | None]


class CertificateConditions:
    """All that are given must hold. Immutable."""

    __slots__ = ("_checks",)

    def __init__(self, config: CertificateCondition) -> None:
        given = (
            _text(config.issuer, config.issuer_regex, _issuer),
            _text(config.subject, config.subject_regex, _subject),
            _keys(config.keys),
            _verdicts(config.verdicts),
            _flag(config.self_signed, lambda facts: facts.self_signed if facts.reached else None),
            _flag(config.asks_client_certificate, lambda facts: facts.asks_client_certificate),
        )
        self._checks = tuple(check for check in given if check is not None)

    def hold(self, facts: UpstreamFacts) -> bool | None:
        """None: what was seen does not say. One condition that does not hold is enough to say no."""
        answers = [check(facts) for check in self._checks]
        return False if False in answers else None if None in answers else True


def _issuer(facts: UpstreamFacts) -> str | None:
    return facts.certificate.issuer if facts.certificate else None


def _subject(facts: UpstreamFacts) -> str | None:
    return facts.certificate.subject if facts.certificate else None


def _text(texts: Iterable[str], patterns: Iterable[str], of: Callable[[UpstreamFacts], str | None]) -> _Holds | None:
    plain = [text.casefold() for text in texts]
    compiled = [check_pattern(pattern) for pattern in patterns]

    def holds(facts: UpstreamFacts) -> bool | None:
        value = of(facts)
        if value is None:
            return None
        folded = value.casefold()
        return any(text in folded for text in plain) or any(pattern.search(value) for pattern in compiled)

    return holds if plain or compiled else None


def _keys(kinds: Iterable[str]) -> _Holds | None:
    wanted = frozenset(kinds)
    return (lambda facts: facts.key_type in wanted if facts.reached else None) if wanted else None


def _verdicts(words: Iterable[str]) -> _Holds | None:
    wanted = frozenset(words)

    def holds(facts: UpstreamFacts) -> bool | None:
        # of a server that was not reached no certificate is known to be bad, or good
        return True if facts.reason.word in wanted else False if facts.reached else None

    return holds if wanted else None


def _flag(wanted: bool | None, of: Callable[[UpstreamFacts], bool | None]) -> _Holds | None:
    def holds(facts: UpstreamFacts) -> bool | None:
        value = of(facts)
        return None if value is None else value is wanted

    return None if wanted is None else holds
