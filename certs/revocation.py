"""Whether certificates have been taken back: the ways of finding out, and what to do when none has an answer."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from cryptography import x509

from appliance.domain.clock import Clock
from appliance.domain.reason import Reason
from certs import crl_answer, ocsp_answer
from certs.fingerprint import certificate_sha256
from certs.memo import Kept, Memo
from certs.ocsp_answer import Answer
from certs.patience import Patience
from certs.verdict import Verdict

type Fetch = Callable[[str, bytes, str], Awaitable[bytes]]
"""URL, body and its type (no body: GET). Raises an exception, of whatever kind, when there is nothing to be had."""

CAPACITY: Final = 8192
"""Answers remembered for one tenant, about 2 MB."""
LISTS: Final = 16
MAX_LIST_KEPT: Final = 1_048_576
"""Larger lists are used once for each certificate that is asked about, and not kept."""
SHORT_LIVED: Final = 7 * 86_400
"""Certificates that are valid no longer need no revocation (CA/Browser Forum Baseline Requirements, section 7.1.2.11.2)."""


@dataclass(frozen=True, slots=True)
class Modes:
    """``off``, ``soft`` or ``hard`` for each way; see ``appliance.config.revocation``."""

    staple: str = "soft"
    ocsp: str = "off"
    crl: str = "off"
    intermediates: bool = True
    max_age: float = 43_200.0
    failure_ttl: float = 300.0

    @property
    def fetches(self) -> bool:
        return self.ocsp != "off" or self.crl != "off"

    @property
    def hard(self) -> bool:
        return "hard" in (self.staple, self.ocsp, self.crl)


@dataclass(frozen=True, slots=True)
class Finding:
    """About one chain. ``text`` is for the audit record: ``good``, ``unknown``, ``revoked`` or ``short_lived``, and how."""

    verdict: Verdict | None
    text: str


@dataclass(frozen=True, slots=True)
class _Known:
    revoked: bool | None
    way: str


class Revocation:
    """For one tenant. Answers are remembered by certificate and issuer; lists by address as well. ``counters``: by way and
    result."""

    def __init__(self, modes: Modes, clock: Clock) -> None:
        self.modes, self._clock = modes, clock
        self._answers: Memo[tuple[str, str], _Known] = Memo(CAPACITY, clock)
        self._lists: Memo[str, bytes] = Memo(LISTS, clock)
        self.counters: Counter[tuple[str, str]] = Counter()

    async def check(self, chain: Sequence[x509.Certificate], staple: bytes, fetch: Fetch, patience: Patience) -> Finding:
        """Judge a verified chain, leaf first, anchor last, with the response that the server stapled (empty: none).

        What is not known when ``patience`` is over counts as unknown; it is looked for all the same, for those who come later.
        """
        if len(chain) < 2:
            return Finding(None, "")
        pairs = list(pairwise(chain))
        if not (self.modes.intermediates and self.modes.fetches):
            del pairs[1:]
        staples = [staple, *(b"" for _ in pairs[1:])]
        asked = (self._know(pair, each, fetch, patience) for pair, each in zip(pairs, staples, strict=True))
        all_known = await asyncio.gather(*asked)
        for depth, known in enumerate(all_known):
            if (verdict := self._verdict(known, depth, chain[depth])) is not None:
                return Finding(verdict, _text(known))
        unknown = (known for known in all_known if known.revoked is None)
        return Finding(None, _text(next(unknown, all_known[0])))

    async def _know(
        self, pair: tuple[x509.Certificate, x509.Certificate], staple: bytes, fetch: Fetch, patience: Patience
    ) -> _Known:
        if (stapled := self._stapled(*pair, staple)) is not None:
            return stapled
        try:
            return await patience.wait(self._ask(*pair, fetch))
        except TimeoutError:
            return _Known(None, "no answer in time")

    def _verdict(self, known: _Known, depth: int, certificate: x509.Certificate) -> Verdict | None:
        if known.revoked:
            return Verdict(Reason.UPSTREAM_CERT_REVOKED, f"by {known.way}", depth=depth, certificate=certificate)
        # a staple is about the leaf alone
        hard = self.modes.hard if depth == 0 else "hard" in (self.modes.ocsp, self.modes.crl)
        if known.revoked is None and hard and not _short_lived(certificate):
            return Verdict(Reason.UPSTREAM_CERT_REVOCATION_UNKNOWN, known.way, depth=depth, certificate=certificate)
        return None

    def _stapled(self, certificate: x509.Certificate, issuer: x509.Certificate, staple: bytes) -> _Known | None:
        if not staple:
            return None
        found = ocsp_answer.answer(staple, certificate, issuer, self._clock.now())
        return None if found is None else _Known(found.revoked, "staple")

    async def _ask(self, certificate: x509.Certificate, issuer: x509.Certificate, fetch: Fetch) -> _Known:
        if not self.modes.fetches:
            return _Known(None, "no response was stapled")
        if _short_lived(certificate):
            return _Known(False, "short-lived")
        key = certificate_sha256(certificate), certificate_sha256(issuer)
        return await self._answers.get(key, lambda: self._look(certificate, issuer, fetch))

    async def _look(self, certificate: x509.Certificate, issuer: x509.Certificate, fetch: Fetch) -> Kept[_Known]:
        for way, ask in (("ocsp", self._by_ocsp), ("crl", self._by_list)):
            if getattr(self.modes, way) == "off":
                continue
            found = await ask(certificate, issuer, fetch)
            self.counters[way, "unknown" if found is None else "revoked" if found.revoked else "good"] += 1
            if found is not None:
                return Kept(_Known(found.revoked, way), self._life(found))
        return Kept(_Known(None, "no responder and no list had an answer"), self.modes.failure_ttl)

    def _life(self, found: Answer) -> float:
        left = self.modes.max_age if found.until is None else found.until - self._clock.now()
        return max(1.0, min(self.modes.max_age, left))

    async def _by_ocsp(self, certificate: x509.Certificate, issuer: x509.Certificate, fetch: Fetch) -> Answer | None:
        for url in ocsp_answer.addresses(certificate):
            try:
                data = await fetch(url, ocsp_answer.question(certificate, issuer), ocsp_answer.CONTENT_TYPE)
            except Exception:  # noqa: S112 - whatever it was, this responder has no answer; the mode says what that means
                continue
            found = await asyncio.to_thread(ocsp_answer.answer, data, certificate, issuer, self._clock.now())
            if found is not None:
                return found
        return None

    async def _by_list(self, certificate: x509.Certificate, issuer: x509.Certificate, fetch: Fetch) -> Answer | None:
        for url in crl_answer.addresses(certificate):
            data = await self._lists.get(url, lambda url=url: self._fetched(url, fetch))  # type: ignore[misc]
            # a list of megabytes takes its time to be searched and verified
            found = await asyncio.to_thread(crl_answer.answer, data, certificate, issuer, self._clock.now()) if data else None
            if found is not None:
                return found
        return None

    async def _fetched(self, url: str, fetch: Fetch) -> Kept[bytes]:
        try:
            data = await fetch(url, b"", "")
        except Exception:  # as above
            return Kept(b"", self.modes.failure_ttl)
        return Kept(data, min(self.modes.max_age, 3600.0) if len(data) <= MAX_LIST_KEPT else 0.0)


def _short_lived(certificate: x509.Certificate) -> bool:
    return (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds() <= SHORT_LIVED


def _text(known: _Known) -> str:
    word = "unknown" if known.revoked is None else "revoked" if known.revoked else "good"
    return f"{word} ({known.way})"
