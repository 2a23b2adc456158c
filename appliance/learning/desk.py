"""What a person can do about exclusions. Every step stands in the exclusion's history, with who took it."""

import re
from typing import Final

from appliance.domain.act import Actor
from appliance.domain.exclusion import Kind, State
from appliance.domain.learning import Entry, Evidence, ExclusionError, Key, Record
from appliance.domain.target import normalise_host
from appliance.learning.book import Book
from appliance.learning.judge import doubts, judge
from appliance.learning.tenants import TenantRules

_JA4: Final = re.compile(r"t[0-9s][0-9][di][0-9]{4}[0-9A-Za-z]{2}_[0-9a-f]{12}_[0-9a-f]{12}\Z")
MAX_REASON: Final = 300
MAX_TTL: Final = 366 * 86_400.0

_ENDED: Final = frozenset({State.EXPIRED, State.REMOVED})


class Desk:
    """Raises ExclusionError for what may not be, and StoreError. ``actor`` and ``why`` (may be empty) are for the history."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._store = book.store
        self._tenants = book.tenants

    def records(self, tenant: str | None = None) -> list[Record]:
        """Newest first."""
        return self._store.records(tenant)

    def get(self, exclusion_id: str, tenant: str | None = None) -> Record:
        """``tenant``: only if it is this tenant's."""
        record = self._store.get(exclusion_id)
        if record is None or (tenant is not None and record.key.tenant != tenant):
            raise ExclusionError(f"there is no exclusion {exclusion_id!r}", "`arcus exclusion list` shows them")
        return record

    def history(self, exclusion_id: str) -> list[Entry]:
        return self._store.history(exclusion_id)

    def against(self, record: Record) -> tuple[str, ...]:
        """What the rules say against it now."""
        rules = self._tenants.get(record.key.tenant)
        if rules is None:
            return ("the tenant is not in the configuration, or decrypts nothing",)
        if record.key.kind is Kind.MANUAL:
            return (f"cannot be excluded: {veto}",) if (veto := rules.veto(record.key.host)) else ()
        missing = judge(record.key, record.evidence, rules.learning, rules.veto(record.key.host)).missing
        waits = record.state is State.PROPOSED and rules.learning.mode == "apply"
        return missing + (doubts(record.key, record.evidence, rules.learning) if waits else ())

    def approve(self, exclusion_id: str, actor: Actor, why: str = "", tenant: str | None = None) -> Record:
        """A proposal, or what was rejected, holds from now on, for the tenant's ttl."""
        record = self.get(exclusion_id, tenant)
        self._permitted(record.key.tenant, record.key.host)
        if record.state not in (State.PROPOSED, State.REJECTED):
            raise ExclusionError(f"it is {record.state.value}, not proposed", "add it anew with `arcus exclusion add`")
        return self._decide(record, State.ACTIVE, self._until(record.key.tenant), actor, "approved", why)

    def reject(self, exclusion_id: str, actor: Actor, why: str = "", tenant: str | None = None) -> Record:
        """It does not hold, and is not proposed again for the tenant's ttl."""
        record = self.get(exclusion_id, tenant)
        if record.state not in (State.PROPOSED, State.ACTIVE):
            raise ExclusionError(f"it is {record.state.value}", "only what is proposed or active can be rejected")
        return self._decide(record, State.REJECTED, self._until(record.key.tenant), actor, "rejected", why)

    def remove(self, exclusion_id: str, actor: Actor, why: str = "", tenant: str | None = None) -> Record:
        """It holds no more; with new evidence it can be proposed again."""
        record = self.get(exclusion_id, tenant)
        if record.state in _ENDED:
            raise ExclusionError(f"it is {record.state.value} already", "nothing is left to do")
        return self._decide(record, State.REMOVED, record.until, actor, "removed", why)

    def extend(self, exclusion_id: str, actor: Actor, why: str = "", tenant: str | None = None, *, ttl: float = 0.0) -> Record:
        """What holds goes on until ``ttl`` seconds from now (0: the tenant's)."""
        record = self.get(exclusion_id, tenant)
        rules = self._permitted(record.key.tenant, record.key.host)
        if record.state is not State.ACTIVE:
            raise ExclusionError(f"it is {record.state.value}, not active", "approve it, or add it anew")
        return self._decide(record, State.ACTIVE, self._end(ttl, rules), actor, "extended", why)

    def add(self, tenant: str, host: str, reason: str, actor: Actor, fingerprint: str = "", ttl: float = 0.0) -> Record:
        """Exclude a host for one program (its JA4) or for all, for ``ttl`` seconds (0: the tenant's)."""
        name = _host(host)
        rules = self._permitted(tenant, name)
        if fingerprint and not _JA4.match(fingerprint):
            raise ExclusionError(f"no JA4 fingerprint: {fingerprint!r}", "audit records have it as client_hello.ja4")
        if not reason.strip():
            raise ExclusionError("it needs a reason", "say why, for later readers")
        key, until, text = Key(tenant, name, fingerprint, Kind.MANUAL), self._end(ttl, rules), _reason(reason)
        if self._book.full(tenant):
            raise ExclusionError("the tenant has as many exclusions as max_entries says", "remove some, or raise the limit")
        record = self._book.open(key, State.ACTIVE, until, actor, "added", text, Evidence())
        if record is None:
            raise ExclusionError("there is one for this host and fingerprint", "`arcus exclusion list` shows it")
        return record

    def _end(self, ttl: float, rules: TenantRules) -> float:
        if not 0.0 <= ttl <= MAX_TTL:
            raise ExclusionError("the time must be up to 366 days", "for good: list it in the configuration")
        return self._book.clock.now() + (ttl or rules.learning.ttl)

    def _permitted(self, tenant: str, host: str) -> TenantRules:
        rules = self._tenants.get(tenant)
        if rules is None:
            raise ExclusionError(f"no tenant {tenant!r} decrypts anything", "its auditor needs tls_interception")
        if veto := rules.veto(host):
            raise ExclusionError(f"{host} cannot be excluded: {veto}", "change that first")
        return rules

    def _until(self, tenant: str) -> float:
        rules = self._tenants.get(tenant)
        return self._book.clock.now() + (rules.learning.ttl if rules else 0.0)

    def _decide(self, record: Record, state: State, until: float, actor: Actor, verb: str, why: str) -> Record:
        if not self._book.move(record, state, until, actor, verb, _reason(why)):
            raise ExclusionError("somebody else has just decided", "look again")
        return self.get(record.id)


def _reason(text: str) -> str:
    if len(text) > MAX_REASON or not text.isprintable():
        raise ExclusionError(f"a reason has up to {MAX_REASON} printable characters", "say why in one line, for later readers")
    return text.strip()


def _host(text: str) -> str:
    try:
        return normalise_host(text)
    except ValueError as error:
        raise ExclusionError(str(error), "name one host; a whole domain goes into the configuration") from None
