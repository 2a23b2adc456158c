"""Scores on x509-limbo: the form of its cases, and what is left out."""

from typing import Any

from bench.limbo import decided, score
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import LEAF


def case(**changes: Any) -> dict[str, Any]:
    world = forge.world()
    found = {
        "id": "rfc5280::plain", "validation_kind": "SERVER", "features": [], "crls": [], "expected_result": "SUCCESS",
        "expected_peer_name": {"kind": "DNS", "value": "origin.test"}, "validation_time": forge.NOW.isoformat(),
        "trusted_certs": [world.root.pem.decode()], "untrusted_intermediates": [world.intermediate.pem.decode()],
        "peer_certificate": forge.issue(LEAF, world.intermediate).pem.decode(),
    }  # fmt: skip
    return found | changes


def test_what_is_right_and_what_is_wrong() -> None:
    wrong_name = {"kind": "DNS", "value": "other.test"}
    cases = [
        case(), case(id="refused", expected_peer_name=wrong_name, expected_result="FAILURE"),
        case(id="missed", expected_result="FAILURE"), case(id="too strict", expected_peer_name=wrong_name),
        case(id="unreadable", trusted_certs=["nothing"], expected_result="FAILURE"),
    ]  # fmt: skip
    found = score(cases, strict=False)
    assert (found.right, found.wrong) == (3, {"missed": "ok", "too strict": "upstream_cert_wrong_host"})
    assert found.text == "3 of 5 (60.0 %)"


def test_cases_that_are_open_to_choice_are_left_out() -> None:
    left_out = [
        case(validation_kind="CLIENT"), case(expected_peer_name=None), case(crls=["x"]), case(features=["pedantic-rfc5280"]),
        case(expected_peer_name={"kind": "RFC822", "value": "a@origin.test"}), case(features=["max-chain-depth"]),
    ]  # fmt: skip
    kept = case()
    assert decided([kept, *left_out]) == [kept]
