"""The gate: tenant, user, access and decryption of one connection, and what it counts for each tenant."""

import base64

import pytest

from appliance.config.auditor import Auditor
from appliance.domain.decision import Action, Decision, TlsAction, TlsDecision
from appliance.domain.facts import RequestFacts
from appliance.domain.ids import TenantId
from appliance.domain.reason import Reason
from appliance.domain.target import Target
from appliance.engine.gate import client_facts, refuses
from tests.appliance.engine.gates import Place, connection, server, tenant

A, DEFAULT = TenantId("a"), TenantId("default")


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_a_name_learnt_later_moves_the_connection_and_its_count() -> None:
    place = Place([tenant("a", match={"sni": [".a.test"]}), tenant("default")])
    gate, conn = place.gate(), connection()
    assert gate.identify(conn) is Reason.OK
    assert (conn.tenant, conn.tenant_method) == (DEFAULT, "default")
    assert gate.identify(conn, names=("www.a.test",)) is Reason.OK
    assert (conn.tenant, conn.tenant_method) == (A, "name")
    assert (place.quota.tenants.held(A), place.quota.tenants.held(DEFAULT)) == (1, 0)


def test_being_identified_twice_counts_once() -> None:
    place = Place([tenant("default", max_connections=1)])
    gate, conn = place.gate(), connection()
    assert [gate.identify(conn) for _ in range(3)] == [Reason.OK] * 3
    gate.release(conn)
    gate.release(conn)
    assert len(place.quota.tenants) == 0


def test_a_tenant_at_its_limit_refuses_and_keeps_no_share() -> None:
    place = Place([tenant("default", max_connections=1)])
    gate, first, second = place.gate(), connection(), connection()
    assert gate.identify(first) is Reason.OK
    assert gate.identify(second) is Reason.RESOURCE_EXHAUSTED
    assert second.tenant is None
    gate.release(second)
    assert place.quota.tenants.held(DEFAULT) == 1
    gate.release(first)
    assert gate.identify(second) is Reason.OK


def test_no_tenant_and_a_suspended_one_are_refused() -> None:
    place = Place([tenant("a", match={"networks": ["10.0.0.0/8"]}, status="suspended")])
    gate = place.gate()
    assert gate.identify(connection("192.0.2.1")) is Reason.NO_TENANT
    assert gate.identify(connection("10.0.0.1")) is Reason.TENANT_SUSPENDED


@pytest.mark.security
def test_a_claim_that_does_not_count_is_noted_once() -> None:
    gate, conn = Place([tenant("a"), tenant("default")]).gate(), connection()
    gate.identify(conn, claimed="a")
    gate.identify(conn, claimed="a")
    assert (conn.tenant, conn.events) == (DEFAULT, ["tenant_header_ignored"])
    believed = connection(trusted=True)
    gate.identify(believed, claimed="a")
    assert (believed.tenant, believed.events) == (A, [])


@pytest.mark.security
async def test_an_identity_does_not_follow_into_another_tenant() -> None:
    place = Place([tenant("a", match={"sni": ["a.test"]}), tenant("default", user_group="staff")])
    gate, conn = place.gate(), connection()
    gate.identify(conn)
    conn.user, _, _ = await gate.authenticate(conn, basic("alice", "right"))
    assert conn.user is not None
    gate.identify(conn, names=("a.test",))
    assert conn.user is None


async def test_every_answer_to_credentials_is_counted() -> None:
    place = Place([tenant("default", user_group="staff")])
    gate, conn = place.gate(), connection()
    gate.identify(conn)
    pairs = [("alice", "wrong"), ("nobody", "right"), ("bob", "right"), ("alice", "right")]
    answers = [await gate.authenticate(conn, header) for header in (None, "Basic ???", *(basic(*pair) for pair in pairs))]
    expected = [
        Reason.AUTH_REQUIRED, Reason.AUTH_FAILED, Reason.AUTH_FAILED, Reason.AUTH_FAILED, Reason.USER_BLOCKED, Reason.OK,
    ]  # fmt: skip
    assert [reason for _, reason, _ in answers] == expected
    assert place.told == expected
    assert [user.name for user, _, _ in answers if user] == ["alice"]
    assert answers[2][2] == "user alice"


async def test_without_a_group_nobody_is_asked_and_a_header_means_nothing() -> None:
    place = Place([tenant("default")])
    gate, conn = place.gate(), connection()
    gate.identify(conn)
    assert await gate.authenticate(conn, basic("alice", "wrong")) == (None, Reason.OK, "")
    assert place.told == []


async def test_anonymous_clients_pass_where_admitted_but_wrong_credentials_do_not() -> None:
    place = Place([tenant("default", user_group="guests")])
    gate, conn = place.gate(), connection()
    gate.identify(conn)
    assert await gate.authenticate(conn, None) == (None, Reason.OK, "")
    assert (await gate.authenticate(conn, basic("alice", "right")))[1] is Reason.AUTH_FAILED


def test_the_listener_comes_before_the_tenant_for_users_and_after_it_for_the_way_out() -> None:
    servers = [server("plain"), server("own", user_group="guests", escaper="listener-out")]
    gate = Place([tenant("a", user_group="staff", escaper="tenant-out", match={"networks": ["10.0.0.0/8"]}), tenant("default")],
                 servers).gate()  # fmt: skip
    found = {}
    for listener in ("plain", "own"):
        for ip in ("10.0.0.1", "192.0.2.1"):
            conn = connection(ip, listener)
            gate.identify(conn)
            found[listener, conn.tenant] = (gate.group(conn), gate.escaper(conn))
    assert found == {
        ("plain", A): ("staff", "tenant-out"),
        ("own", A): ("guests", "tenant-out"),
        ("plain", DEFAULT): (None, ""),
        ("own", DEFAULT): ("guests", "listener-out"),
    }
    assert gate.escaper(connection()) == ""


@pytest.mark.security
@pytest.mark.parametrize(("networks", "allowed"), [(["203.0.113.0/24"], False), (["198.51.100.0/24"], True)])
def test_a_name_in_the_hello_is_no_way_around_a_policy_about_addresses(networks: list[str], allowed: bool) -> None:
    rule = {"name": "no-such-net", "config": {"hosts": {"networks": networks}, "action": "block"}}
    place = Place([tenant("default", policies=[rule])])
    gate, conn = place.gate(), connection()
    gate.identify(conn)
    facts = RequestFacts(
        DEFAULT, conn.client, Target("innocent.test", 443), scheme="https", sni="innocent.test", original_ip="203.0.113.9"
    )
    assert gate.access(facts).allowed is allowed


def test_tls_decisions_follow_the_auditor() -> None:
    auditor = Auditor.model_validate({"name": "inspect", "tls_interception": {"splice": ["bank.test"], "block": [".bad.test"]}})
    place = Place([tenant("default")], auditor=auditor)
    gate, conn = place.gate(), connection()
    gate.identify(conn)
    facts = [gate.tls_facts(conn, (name,), 443, 0.0) for name in ("bank.test", "x.bad.test", "other.test")]
    answers = [gate.tls(conn, each) for each in facts]
    assert [each.action for each in answers if isinstance(each, TlsDecision)] == [
        TlsAction.SPLICE,
        TlsAction.BLOCK,
        TlsAction.INTERCEPT,
    ]


@pytest.mark.parametrize(
    ("reason", "action", "at_once"),
    [
        (Reason.PORT_DENIED, Action.BLOCK, True),
        (Reason.AUTH_REQUIRED, Action.REQUIRE_AUTH, True),
        (Reason.HOST_DENIED, Action.BLOCK, False),
        (Reason.POLICY_REDIRECTED, Action.REDIRECT, False),
        (Reason.OK, Action.ALLOW, False),
    ],
)
def test_what_has_a_page_inside_tls_is_not_refused_at_once(reason: Reason, action: Action, at_once: bool) -> None:
    assert refuses(Decision(action, reason)) is at_once


def test_clients_of_a_dual_stack_listener_appear_as_ipv4() -> None:
    facts = client_facts("s", ("::ffff:192.0.2.1", 1), ("::ffff:10.0.0.1", 2), trusted=False)
    assert (facts.ip, facts.listen_ip) == ("192.0.2.1", "10.0.0.1")
    assert client_facts("s", ("2001:db8::1", 1), ("::1", 2), trusted=False).ip == "2001:db8::1"
