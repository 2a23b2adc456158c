"""C8: a request's host against the names of its connection."""

from dataclasses import dataclass, field

import pytest
from mitmproxy.certs import Cert
from mitmproxy.http import HTTPFlow

from addons.consistency import Consistency
from appliance.config.consistency import NameConsistency
from appliance.domain.decision import TlsAction, TlsDecision
from appliance.domain.errors import UpstreamError
from appliance.domain.facts import HelloFacts
from appliance.domain.notes import ConnNotes, TaskNotes, TlsNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from tests.addons.flows import conn, flow, page, task
from tests.certs.forge_origin import LEAF, issue

WRONG = ["address: 203.0.113.9 is none of front.test's"]


@dataclass
class Judge:
    config: NameConsistency = field(default_factory=NameConsistency)
    action: TlsAction = TlsAction.INTERCEPT
    asked: list[str] = field(default_factory=list)

    def consistency(self, _conn: ConnNotes) -> NameConsistency:
        return self.config

    def tls_of(self, _conn: ConnNotes, host: str, _port: int, _now: float) -> TlsDecision:
        self.asked.append(host)
        return TlsDecision(self.action, "rule", "why")


@dataclass
class Names:
    """Resolves by a table; what is not in it does not resolve."""

    known: dict[str, tuple[str, ...]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, _conn: ConnNotes, target: Target) -> tuple[str, ...]:
        self.asked.append(target.host)
        if target.host not in self.known:
            raise UpstreamError(Reason.DNS_FAILED, target.host)
        return self.known[target.host]


def tunnel(host: str, to: str = "front.test", sni: str | None = "front.test", **fields: object) -> tuple[HTTPFlow, TaskNotes]:
    """A request for ``host`` inside a tunnel; ``sni`` None: without TLS."""
    hello = {"hello": HelloFacts(sni)} if sni is not None else {}
    scheme = "http" if sni is None else "https"
    given = conn(tunnel=Target(to, 443), **(hello | fields))
    made = flow(url=f"{scheme}://{to}/x", headers={"Host": host}, notes=given)
    return made, task(made)


async def run(made: HTTPFlow, judge: Judge | None = None, names: Names | None = None) -> Judge:
    judge = judge or Judge()
    if (pending := Consistency(judge, names or Names(), page).requestheaders(made)) is not None:
        await pending
    return judge


@pytest.mark.parametrize("host", ["front.test", "FRONT.test.", "front.test:8443", ""])
async def test_c8_the_same_name_asks_nobody(host: str) -> None:
    made, notes = tunnel(host)
    judge, names = Judge(), Names()
    await run(made, judge, names)
    assert (made.response, notes.mismatches, judge.asked, names.asked) == (None, [], [], [])


async def test_c8_either_name_of_the_connection_is_the_same() -> None:
    for host in ("front.test", "other.test"):
        made, notes = tunnel(host, to="other.test")
        await run(made)
        assert (made.response, notes.mismatches) == (None, [])


async def test_c8_a_fronted_host_is_misdirected_unless_it_is_only_logged() -> None:
    made, notes = tunnel("evil.test", to="other.test")
    await run(made)
    assert made.response is not None
    assert (made.response.status_code, notes.reason, notes.mismatches) == (
        421, Reason.HOST_MISMATCH, ["host: evil.test, not front.test or other.test"],
    )  # fmt: skip
    assert notes.decision is not None
    assert (notes.decision.rule, notes.decision.level) == ("name_consistency.host", "consistency")
    made, notes = tunnel("evil.test")
    await run(made, Judge(NameConsistency(host="log")))
    assert (made.response, notes.mismatches) == (None, ["host: evil.test, not front.test"])


@pytest.mark.parametrize(
    ("verify", "host", "kind"), [("ok", "origin.test", "reuse"), ("bad", "origin.test", "host"), ("ok", "x.test", "host")]
)
async def test_c8_what_a_verified_certificate_is_for_is_connection_reuse(verify: str, host: str, kind: str) -> None:
    made, notes = tunnel(host, server_tls=TlsNotes(verify=verify))
    made.server_conn.certificate_list = [Cert(issue(LEAF, None).certificate)]
    await run(made)
    assert notes.mismatches == [f"{kind}: {host}, not front.test"]
    assert (made.response is None) is (kind == "reuse")
    made, notes = tunnel(host, server_tls=TlsNotes(verify=verify))
    made.server_conn.certificate_list = [Cert(issue(LEAF, None).certificate)]
    await run(made, Judge(NameConsistency(reuse="block")))
    assert notes.reason is Reason.HOST_MISMATCH


@pytest.mark.parametrize(
    ("action", "reason"),
    [(TlsAction.BLOCK, Reason.DECRYPT_BLOCKED), (TlsAction.SPLICE, Reason.HOST_MISMATCH), (TlsAction.INTERCEPT, Reason.OK)],
)
async def test_c8_the_decryption_rules_judge_the_host_as_well(action: TlsAction, reason: Reason) -> None:
    made, notes = tunnel("evil.test")
    judge = await run(made, Judge(NameConsistency(host="log"), action))
    assert (notes.reason, judge.asked) == (reason, ["evil.test"])
    if action is TlsAction.BLOCK:
        assert notes.decision is not None
        assert (notes.decision.rule, notes.detail) == ("rule", "why")


async def test_c8_without_tls_no_decryption_rule_is_asked() -> None:
    made, notes = tunnel("evil.test", sni=None)
    judge = await run(made, Judge(action=TlsAction.BLOCK))
    assert (judge.asked, notes.reason) == ([], Reason.HOST_MISMATCH)


@pytest.mark.parametrize(
    ("policy", "known", "mismatches", "goes_to", "reason"),
    [
        ("use_name", {"front.test": ("203.0.113.9",)}, [], "front.test", Reason.OK),
        ("use_name", {"front.test": ("192.0.2.1",)}, WRONG, "front.test", Reason.OK),
        ("use_name", {"front.test": ()}, [], "front.test", Reason.OK),
        ("use_name", {}, ["address: front.test does not resolve"], "front.test", Reason.OK),
        ("block", {"front.test": ("203.0.113.9",)}, [], "front.test", Reason.OK),
        ("block", {"front.test": ("192.0.2.1",)}, WRONG, "", Reason.ADDRESS_MISMATCH),
        ("block", {}, ["address: front.test does not resolve"], "", Reason.ADDRESS_MISMATCH),
        ("log", {"front.test": ("192.0.2.1",)}, WRONG, "203.0.113.9", Reason.OK),
    ],
)  # fmt: skip
async def test_t26_plain_http_to_an_address_goes_to_the_name_that_it_claims(
    policy: str, known: dict[str, tuple[str, ...]], mismatches: list[str], goes_to: str, reason: Reason
) -> None:
    made, notes = tunnel("front.test", to="203.0.113.9", sni=None, protocol="tproxy")
    await run(made, Judge(NameConsistency.model_validate({"address": policy})), Names(known))
    assert (notes.mismatches, notes.reason) == (mismatches, reason)
    if goes_to:
        assert (made.request.host, made.request.headers["Host"]) == (goes_to, "front.test")
    else:
        assert made.response is not None


async def test_what_has_an_answer_or_no_tunnel_or_is_ours_is_left_alone() -> None:
    made, notes = tunnel("evil.test", portal=True)
    await run(made)
    assert notes.mismatches == []
    made = flow(headers={"Host": "evil.test"})
    notes = task(made)
    await run(made)
    assert notes.mismatches == []
