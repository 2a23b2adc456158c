"""Names that do not agree: what is wrong, and the decision that refuses for it."""

from collections.abc import Awaitable
from typing import Final

from appliance.domain.decision import Action, Decision
from appliance.domain.errors import TaskError
from appliance.domain.reason import Reason
from appliance.domain.target import parse_ip

LEVEL: Final = "consistency"

_REASONS: Final = {
    "sni": Reason.SNI_MISMATCH,
    "host": Reason.HOST_MISMATCH,
    "reuse": Reason.HOST_MISMATCH,
    "address": Reason.ADDRESS_MISMATCH,
}


def refusal(kind: str, detail: str) -> Decision:
    """The decision for a mismatch of this kind, a key of ``name_consistency``; its rule is that key."""
    return Decision(Action.BLOCK, _REASONS[kind], f"name_consistency.{kind}", LEVEL, detail)


async def wrong_address(address: str, name: str, resolving: Awaitable[tuple[str, ...]]) -> str:
    """Why the address that a client chose is not one of its name's; empty when it is, or when only a parent proxy can tell.

    ``resolving`` gives the addresses of the name, none where nobody here resolves it, or raises TaskError.
    """
    try:
        known = await resolving
    except TaskError:
        return f"{name} does not resolve"
    wanted = parse_ip(address)
    return f"{address} is none of {name}'s" if known and all(parse_ip(each) != wanted for each in known) else ""
