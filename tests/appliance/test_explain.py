"""Explanations: each way a request can end before it is sent, by the code of live traffic."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from appliance.domain.errors import UpstreamError
from appliance.domain.notes import CertNotes, ConnNotes
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.domain.upstream import UpstreamFacts
from appliance.explain import Explainer
from appliance.question import NO_SNI, Question, QuestionError
from tests.appliance.config.base import changed, loads

pytestmark = pytest.mark.unit

SUSPENDED = "{tenant_id: off, status: suspended, match: {networks: [10.9.0.0/16]}, ca: main, auditor: inspect}"
CONFIG = changed(
    ("    resolver: local\n", "    resolver: local\n  - {name: nowhere, type: dummy_deny}\n"),
    ("    rules:\n      - {exact", "    rules:\n      - {child_match: shut.test, next: nowhere}\n      - {exact"),
    ("      splice: [", "      block: [secret.test]\n      splice: ["),
    ("tenant:\n  - tenant_id: blue", f"tenant:\n  - {SUSPENDED}\n  - tenant_id: blue"),
    ("    token:", "    source_ip_filter: [10.0.0.0/9]\n        token:"),
    ("8080\"}\n", "8080\"}\n    trusted_proxies: [192.0.2.9/32]\n    ingress_network_filter: {deny: [198.51.100.0/24]}\n"),
)  # fmt: skip


@pytest.fixture(scope="module")
def explainer() -> Iterator[Explainer]:
    made = Explainer(loads(CONFIG).config)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("question", "verdict", "tenant", "path"),
    [
        (Question("https://x.test/", "10.1.0.1", "alice"), "ok", "blue", ("router", "direct")),
        (Question("https://a.test/", "10.1.0.1", "alice"), "ok", "blue", ("router", "parent")),
        (Question("x.b.test:8443", "10.1.0.1", "alice"), "ok", "blue", ("router", "parent")),
        (Question("http://games.test/x", "10.1.0.1", "alice"), "policy_blocked", "blue", ()),
        (Question("https://www.games.test/x", "10.1.0.1", "alice"), "policy_blocked", "blue", ()),
        (Question("https://secret.test/", "10.1.0.1", "alice"), "decrypt_blocked", "blue", ()),
        (Question("https://x.shut.test/", "10.1.0.1", "alice"), "denied_by_escaper", "blue", ("router", "nowhere")),
        (Question("https://x.test/", "10.1.0.1"), "auth_required", "blue", ()),
        (Question("https://x.test/", "10.1.0.1", "mallory"), "auth_failed", "blue", ()),
        (Question("https://x.test/", "10.200.0.1", "alice"), "source_denied", "blue", ()),
        (Question("https://x.test/", "10.9.0.1"), "tenant_suspended", "off", ()),
        (Question("https://x.test/", "198.51.100.7"), "network_denied", "", ()),
        (Question("https://x.test/", "192.0.2.1"), "ok", "default", ("direct",)),
        (Question("https://www.blue.test/", "192.0.2.1"), "auth_required", "blue", ()),
        (Question("https://x.test/", "192.0.2.9", tenant_header="blue"), "auth_required", "blue", ()),
        (Question("https://x.test/", "192.0.2.1", tenant_header="blue"), "ok", "default", ("direct",)),
        (Question("https://x.test/", "192.0.2.9", tenant_header="nobody"), "no_tenant", "", ()),
    ],
)  # fmt: skip
def test_ten_05_pol_esc_the_verdict_with_tenant_and_path(
    explainer: Explainer, question: Question, verdict: str, tenant: str, path: tuple[str, ...]
) -> None:
    told = explainer.explain(question)
    assert (told.reason, told.tenant, told.escaper_path) == (verdict, tenant, path)
    assert told.verdict == ("allow" if verdict == "ok" else "deny")
    assert [step.stop for step in told.steps[:-1]] == [False] * (len(told.steps) - 1)
    assert told.steps[-1].stop is (verdict != "ok")


def test_a_spliced_request_is_judged_by_its_connect_alone(explainer: Explainer) -> None:
    told = explainer.explain(Question("https://www.bank.test/x", "192.0.2.1"))
    assert told.decrypt == "splice"
    assert "access GET" not in [step.about for step in told.steps]


def test_why_names_the_rules(explainer: Explainer) -> None:
    told = explainer.explain(Question("https://www.games.test/x", "10.1.0.1", "alice"))
    assert told.steps[-1].why == "tenant policy no-games"
    told = explainer.explain(Question("https://a.test/", "10.1.0.1", "alice"))
    assert told.steps[-1].why == "router: exact_match a.test"


@pytest.mark.parametrize(
    "question",
    [Question("ftp://x.test/", "10.0.0.1"), Question("https:///x", "10.0.0.1"), Question("https://x.test/", "x"),
     Question("https://x.test/", "10.0.0.1", server="nobody"), Question("https://127.1/", "10.0.0.1")],
)  # fmt: skip
def test_malformed_questions(explainer: Explainer, question: Question) -> None:
    with pytest.raises(QuestionError):
        explainer.explain(question)


RULES = """      rules:
        - {name: night, action: block, times: [{hours: ["22:00-06:00"]}], reason: closed}
        - {name: try, action: block, mode: monitor, hosts: [.test]}
        - {name: inside, action: splice, destinations: [10.0.0.0/8]}
        - {name: selfmade, action: block, certificate: {self_signed: true}, hosts: [shady.test]}
        - {name: phone, action: splice, ja4: [t13d*]}
"""


@pytest.fixture(scope="module")
def ruled() -> Iterator[Explainer]:
    made = Explainer(
        loads(changed(("      rules:\n        - {name: pinned, action: splice, hosts: [pinned.test]}\n", RULES))).config
    )
    yield made
    made.close()


NOON, NIGHT = 1_772_452_800.0, 1_772_490_000.0


@pytest.mark.parametrize(
    ("question", "decrypt", "last"),
    [
        (Question("https://x.test/", "192.0.2.1", at=NIGHT), "block", "night"),
        (Question("https://x.test/", "192.0.2.1", at=NOON), "intercept", "default"),
        (Question("https://x.test/", "192.0.2.1", at=NOON, address="10.1.2.3"), "splice", "inside"),
        (Question("https://10.1.2.3/", "192.0.2.1", at=NOON), "splice", "inside"),
        (Question("https://x.test/", "192.0.2.1", at=NOON, ja4="t13d1516h2_8daaf6152771_e5627efa2ab1"), "splice", "phone"),
        (Question("https://shady.test/", "192.0.2.1", at=NOON), "block", "selfmade"),
        (Question("https://www.bank.test/", "192.0.2.1", at=NOON), "splice", "splice_list"),
        (Question("https://www.bank.test/", "192.0.2.1", at=NOON, sni="x.test"), "intercept", "default"),
    ],
)  # fmt: skip
def test_c22_the_decryption_rule_that_decides(ruled: Explainer, question: Question, decrypt: str, last: str) -> None:
    told = ruled.explain(question)
    why = next(step.why for step in told.steps if step.about == "decrypt" and step.answer == decrypt)
    assert (told.decrypt, f"rule {last}" in why) == (decrypt, True)


def test_c22_why_the_rules_before_did_not_match(ruled: Explainer) -> None:
    told = ruled.explain(Question("https://x.test/", "192.0.2.1", at=NOON))
    rules = [(step.answer, step.why) for step in told.steps if step.about == "decrypt rule"]
    assert rules == [
        ("skipped", "night on x.test: times"),
        ("monitor", "try on x.test: would block"),
        ("skipped", "inside on x.test: destinations not known"),
        ("skipped", "selfmade on x.test: hosts"),
        ("skipped", "phone on x.test: ja4"),
    ]
    assert told.would == ("try: block",)


@pytest.mark.parametrize(
    ("setting", "verdict", "decrypt"),
    [("block", "decrypt_blocked", "block"), ("splice", "ok", "splice"), ("intercept", "ok", "intercept")],
)
def test_c19_explain_tells_of_a_missing_server_name(setting: str, verdict: str, decrypt: str) -> None:
    made = Explainer(loads(changed(("      splice: [", f"      no_sni: {setting}\n      splice: ["))).config)
    told = made.explain(Question("https://x.test/", "192.0.2.1", sni=NO_SNI))
    assert (told.reason, told.decrypt) == (verdict, decrypt)
    assert "rule no_sni (the client names no server)" in next(step.why for step in told.steps if step.about == "decrypt")
    by_address = made.explain(Question("https://192.0.2.77/", "192.0.2.1"))
    assert "rule no_sni" in next(step.why for step in by_address.steps if step.about == "decrypt")
    listed = made.explain(Question("https://www.bank.test/", "192.0.2.1", sni=NO_SNI))
    assert "rule splice_list" in next(step.why for step in listed.steps if step.about == "decrypt")
    named = made.explain(Question("https://x.test/", "192.0.2.1"))
    assert "rule default" in next(step.why for step in named.steps if step.about == "decrypt")
    made.close()


def test_c8_explain_judges_both_names(explainer: Explainer) -> None:
    told = explainer.explain(Question("https://fine.test/", "10.1.0.1", "alice", sni="www.games.test"))
    assert told.reason == "policy_blocked"
    with pytest.raises(QuestionError, match="not a server name"):
        explainer.explain(Question("https://fine.test/", "10.1.0.1", "alice", sni="a b"))


def test_c8_explain_tells_of_names_that_differ(ruled: Explainer) -> None:
    told = ruled.explain(Question("https://one.other/", "192.0.2.1", at=NOON, sni="two.other"))
    assert ("names", "log", "server name two.other, not one.other") in [(s.about, s.answer, s.why) for s in told.steps]
    told = ruled.explain(Question("https://192.0.2.77/", "192.0.2.1", at=NOON, sni="two.other"))
    assert ("names", "use_name", "address 192.0.2.77, server name two.other") in [
        (s.about, s.answer, s.why) for s in told.steps
    ]


class Answers:
    """A network that answers from memory."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def addresses(self, root: str, conn: ConnNotes, target: Target) -> tuple[str, ...]:
        self.asked.append(f"{root} {target}")
        if target.host == "gone.test":
            raise UpstreamError(Reason.DNS_FAILED, "gone.test: no such name")
        return ("10.1.2.3",) if target.host == "inside.test" else ("192.0.2.1",)

    def look(self, root: str, conn: ConnNotes, target: Target, sni: str) -> UpstreamFacts:
        self.asked.append(f"{root} {target} {sni}")
        return UpstreamFacts(certificate=CertNotes("ab", "CN=shady.test", "CN=shady.test", "1", 0.0, 1.0), self_signed=True)


@pytest.mark.parametrize(
    ("host", "decrypt", "look"),
    [
        ("inside.test", "splice", "10.1.2.3"),
        ("gone.test", "intercept", "dns_failed: gone.test: no such name"),
        ("shady.test", "block", "shady.test:443: ok, issued by CN=shady.test"),
    ],
)
def test_c22_with_a_network_the_explanation_knows_what_live_traffic_would(host: str, decrypt: str, look: str) -> None:
    answers = Answers()
    text = changed(("      rules:\n        - {name: pinned, action: splice, hosts: [pinned.test]}\n", RULES))
    explainer = Explainer(loads(text).config, answers)
    told = explainer.explain(Question(f"https://{host}/", "192.0.2.1", at=NOON))
    explainer.close()
    assert told.decrypt == decrypt
    assert look in [step.why for step in told.steps]
    assert all(asked.startswith(f"direct {host}:443") for asked in answers.asked)


@pytest.mark.parametrize(
    ("question", "tenant", "decrypt"),
    [
        # blue wants to know who it is: the portal does not
        (Question("http://arcus.internal/", "10.1.0.1"), "blue", ""),
        (Question("https://arcus.internal/ca.json", "10.1.0.1"), "blue", "intercept"),
        (Question("https://check.arcus.internal/", "10.1.0.1"), "blue", "intercept"),
        (Question("http://wpad.corp.test/wpad.dat?x", "10.1.0.1"), "blue", ""),
        (Question("https://192.0.2.80/", "10.1.0.1", "alice", sni="arcus.internal"), "blue", "intercept"),
        (Question("http://arcus.internal/", "192.0.2.9", tenant_header="nobody"), "", ""),
    ],
)  # fmt: skip
def test_c25_the_portal_answers_by_itself(explainer: Explainer, question: Question, tenant: str, decrypt: str) -> None:
    told = explainer.explain(question)
    assert (told.verdict, told.reason, told.portal) == ("allow", "ok", True)
    assert (told.tenant, told.decrypt, told.escaper_path) == (tenant, decrypt, ())
    assert (told.steps[-1].about, told.steps[-1].answer) == ("portal", "answered here")
    assert not told.steps[-1].stop


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (Question("http://arcus.internal/", "10.9.0.1"), "tenant_suspended"),
        (Question("http://arcus.internal/", "198.51.100.7"), "network_denied"),
        (Question("https://arcus.internal/", "192.0.2.9", tenant_header="nobody"), "no_tenant"),
        (Question("http://wpad.corp.test/other", "10.1.0.1"), "auth_required"),
        (Question("https://x.test/", "10.1.0.1", sni="arcus.internal"), "auth_required"),
    ],
)  # fmt: skip
def test_c25_what_comes_before_the_portal_or_is_not_its_own(explainer: Explainer, question: Question, reason: str) -> None:
    told = explainer.explain(question)
    assert (told.reason, told.portal) == (reason, False)


def test_c25_a_name_that_is_switched_off_is_like_any_other() -> None:
    made = Explainer(loads(CONFIG + "portal: {enabled: false}\n").config)
    told = made.explain(Question("http://arcus.internal/", "192.0.2.1"))
    made.close()
    assert (told.portal, told.escaper_path) == (False, ("direct",))


def test_c25_socks_asks_who_it_is_first(explainer: Explainer) -> None:
    asked = Question("http://arcus.internal/", "10.1.0.1", server="socks")
    assert explainer.explain(asked).reason == "auth_required"
    assert explainer.explain(replace(asked, user="alice")).portal


SCANNING = """\
icap_service:
  - {name: av, uri: "icap://127.0.0.1:1344/av"}
  - {name: dlp, uri: "icap://127.0.0.1:1344/dlp", methods: [REQMOD]}
  - {name: spare, uri: "icap://127.0.0.1:1344/spare"}
icap_set:
  - {name: pool, services: [av, spare]}
icap_chain:
  - {name: all, links: [dlp, pool]}
auditor:
"""
SCAN_RULES = """\
    icap_rules:
      - {name: pictures, use: none, direction: response, content_types: ["image/*"]}
      - {name: large, use: av, larger_than: 1M}
      - {name: rest, use: all}
    icap_timeout: 30s"""


@pytest.mark.parametrize(
    ("question", "request_", "response"),
    [
        (Question("https://x.test/", "192.0.2.1", size=5), "dlp -> pool (failover: av, spare)", "pool (failover: av, spare)"),
        (Question("http://x.test/", "192.0.2.1", content_type="Image/PNG", size=9), "dlp -> pool (", "not scanned"),
        (Question("https://x.test/", "192.0.2.1", size=2_000_000), "av", "av"),
        (Question("https://x.test/", "192.0.2.1"), "av", "av"),
    ],
)
def test_c6_which_services_a_message_would_go_to(question: Question, request_: str, response: str) -> None:
    made = Explainer(loads(changed(("auditor:\n", SCANNING), ("    icap_timeout: 30s", SCAN_RULES))).config)
    found = {step.about: step.answer for step in made.explain(question).steps}
    made.close()
    assert found["scan request"].startswith(request_)
    assert found["scan response"].startswith(response)


def test_c6_what_is_not_decrypted_is_not_scanned(ruled: Explainer) -> None:
    told = ruled.explain(Question("https://www.bank.test/", "192.0.2.1", at=NOON))
    assert [step.about for step in told.steps if step.about.startswith("scan")] == []
