"""The access policy's question is asked with everything that the request claims, and its answer is carried out."""

import pytest

from addons.access import Access
from addons.carry import is_ours
from appliance.domain.decision import ALLOW, Action, Decision
from appliance.domain.facts import HelloFacts, RequestFacts
from appliance.domain.notes import ConnNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from tests.addons.flows import ALICE, A, answered, conn, flow, page, task

BLOCK = Decision(Action.BLOCK, Reason.POLICY_BLOCKED, "no-games", "tenant", "Not at work.")


class Policy:
    def __init__(self, answer: Decision = ALLOW) -> None:
        self.answer = answer
        self.asked: list[RequestFacts] = []

    def access(self, facts: RequestFacts) -> Decision:
        self.asked.append(facts)
        return self.answer


def test_the_question_holds_every_claim() -> None:
    policy = Policy()
    made = flow(
        "PUT", "https://example.test/a?b", {"Host": "front.test:8443"}, notes=conn(hello=HelloFacts("sni.test"), user=ALICE)
    )
    notes = task(made)
    Access(policy, page).requestheaders(made)
    (facts,) = policy.asked
    assert (facts.tenant, facts.target, facts.scheme, facts.method, facts.path) == (
        A, Target("example.test", 443), "https", "PUT", "/a?b",
    )  # fmt: skip
    assert (facts.host_header, facts.sni, facts.user, facts.original_ip) == ("front.test", "sni.test", ALICE, "")
    assert (notes.stage, notes.decision, made.response) == ("decided", ALLOW, None)


@pytest.mark.parametrize(("claimed", "host"), [("a.test", "a.test"), ("a b", ""), ("", ""), ("a.test:99999", "")])
def test_a_host_field_that_names_no_host_names_none(claimed: str, host: str) -> None:
    policy = Policy()
    made = flow(headers={"Host": claimed} if claimed else {})
    task(made)
    Access(policy, page).requestheaders(made)
    assert policy.asked[0].host_header == host


def test_a_block_is_answered_with_a_page_and_noted() -> None:
    made = flow(headers={"Accept": "text/html"})
    notes = task(made)
    Access(Policy(BLOCK), page).requestheaders(made)
    assert made.response is not None
    assert (made.response.status_code, made.response.headers["x-accept"], is_ours(made)) == (403, "text/html", True)
    assert (notes.reason, notes.detail, notes.decision, notes.status) == (Reason.POLICY_BLOCKED, "Not at work.", BLOCK, 403)


@pytest.mark.parametrize("goes_to", ["203.0.113.9", "name.test"])
def test_on_a_redirected_connection_the_name_decides_and_the_address_is_told(goes_to: str) -> None:
    policy = Policy()
    given: ConnNotes = conn(hello=HelloFacts("name.test"), protocol="tproxy", tunnel=Target("203.0.113.9", 443))
    made = flow(url=f"https://{goes_to}/", notes=given)
    task(made)
    Access(policy, page).requestheaders(made)
    assert (policy.asked[0].target, policy.asked[0].original_ip) == (Target("name.test", 443), "203.0.113.9")


@pytest.mark.security
def test_a_refused_tunnel_stays_refused_for_every_request_inside() -> None:
    policy = Policy()
    made = flow(notes=conn(tunnel_decision=BLOCK))
    notes = task(made)
    Access(policy, page).requestheaders(made)
    assert (policy.asked, notes.reason) == ([], Reason.POLICY_BLOCKED)
    assert made.response is not None


@pytest.mark.security
def test_no_destination_no_passage() -> None:
    policy = Policy()
    made = flow()
    notes = task(made, target=None)
    Access(policy, page).requestheaders(made)
    assert (policy.asked, notes.reason) == ([], Reason.BAD_REQUEST)
    assert made.response is not None


def test_what_is_answered_already_is_not_judged() -> None:
    policy = Policy(BLOCK)
    made = flow()
    answered(made)
    Access(policy, page).requestheaders(made)
    assert policy.asked == []


@pytest.mark.security
def test_c8_an_address_that_was_asked_for_is_judged_although_the_connection_goes_to_the_name() -> None:
    policy = Policy()
    given = conn(hello=HelloFacts("name.test"), protocol="connect", tunnel=Target("203.0.113.9", 443))
    made = flow(url="https://name.test/", notes=given)
    task(made)
    Access(policy, page).requestheaders(made)
    assert policy.asked[0].names == ("203.0.113.9", "name.test")
