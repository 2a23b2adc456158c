"""From audit events to who trusts which CA. Only there while a CA is being replaced."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from appliance.audit.picked import parse
from appliance.audit.sinks.base import State, Written
from appliance.domain.readiness import Encounter
from appliance.domain.tls_failure import TlsFailure

AGENT = 200
"""Characters of a User-Agent that are kept: enough to tell what kind of client it is."""


class EncounterSink:
    """``keep`` stores them, and may raise OSError; ``cas``: the fingerprints that matter."""

    name = "ca-encounters"

    def __init__(self, cas: frozenset[str], keep: Callable[[Iterable[Encounter]], None]) -> None:
        self._keep = keep
        self._marks = tuple(each.encode() for each in cas)
        self._cas = cas

    def open(self, state: State) -> State:
        """Nothing to go back to: the newest of each client counts, however often it is told."""
        return state

    def write(self, lines: Sequence[bytes]) -> Written:
        newest: dict[tuple[str, str, str, bool], Encounter] = {}
        for line in lines:
            # most events are told apart without parsing: a batch holds thousands
            if any(mark in line for mark in self._marks) and (found := self._encounter(line)) is not None:
                newest[found.tenant, found.ip, found.ca, bool(found.refused)] = found
        self._keep(newest.values())
        return Written()

    def close(self) -> None:
        """The store belongs to who made it."""

    def _encounter(self, line: bytes) -> Encounter | None:
        event = parse(line)
        return None if event is None else encounter(event, self._cas)


def encounter(event: Mapping[str, Any], cas: frozenset[str]) -> Encounter | None:
    """What an event says of a client and a CA; None when it proves nothing.

    A request inside TLS proves trust. A resumed session does not, for no certificate was shown. A refusal by a client that
    has accepted the same CA for other names is a pinned name, unless it says that it does not know the CA.
    """
    tls = event.get("client_tls")
    if not isinstance(tls, dict) or tls.get("ca_sha256") not in cas or tls.get("resumed"):
        return None
    at = float(event.get("created_at") or 0.0)
    refused = event.get("tls_failure_side") == "client" and (
        event.get("tls_failure") == TlsFailure.CLIENT_REJECT.value or tls.get("alert") == "unknown_ca"
    )
    if not refused and (tls.get("error") or event.get("event_type") == "connection"):
        return None
    return Encounter(
        tenant=str(event.get("tenant_id") or ""),
        ip=str(event.get("source_ip") or ""),
        ca=str(tls["ca_sha256"]),
        accepted=0.0 if refused else at,
        refused=at if refused else 0.0,
        user=str(event.get("user_id") or "")[:AGENT],
        agent=str(event.get("user_agent") or "")[:AGENT],
    )
