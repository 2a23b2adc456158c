import ipaddress
import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.tenancy.resolve import METHODS, TenantResolver
from tests.appliance.tenancy.tenants import client, server, tenant

A = tenant("tenant-a", match={"networks": ["10.1.0.0/16", "2001:db8:a::/48"], "sni": [".tenant-a.com"]})
B = tenant("tenant-b", match={"networks": ["10.1.2.0/24", "2001:db8:a:b::/64"], "sni": [".tenant-b.com", "only.b.test"]})
C = tenant("tenant-c")
DEFAULT = tenant("default")

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)


@pytest.fixture
def resolver() -> TenantResolver:
    return TenantResolver([A, B, C, DEFAULT], [server("explicit"), server("c-only", tenant_context={"tenant_id": "tenant-c"})])


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        ("10.1.9.9", "tenant-a"),
        ("10.1.2.3", "tenant-b"),
        ("10.2.0.1", "default"),
        ("::ffff:10.1.2.3", "tenant-b"),
        ("2001:db8:a::1", "tenant-a"),
        ("2001:db8:a:b::1", "tenant-b"),
        ("2001:db8:b::1", "default"),
    ],
)
def test_ten_01_longest_network_over_all_tenants(resolver: TenantResolver, ip: str, expected: str) -> None:
    found = resolver.resolve(client(ip))
    assert found is not None
    assert found.tenant_id == expected
    assert found.method == ("default" if expected == "default" else "network")


def test_ten_01_order_of_tenants_does_not_matter() -> None:
    for tenants in ([A, B], [B, A]):
        found = TenantResolver(tenants).resolve(client("10.1.2.3"))
        assert found is not None
        assert (found.tenant_id, found.detail) == ("tenant-b", "subnet_match 10.1.2.0/24")


def test_ten_02_header_of_a_trusted_peer_sets_the_tenant(resolver: TenantResolver) -> None:
    found = resolver.resolve(client("10.1.2.3", trusted=True), claimed=" tenant-c\t")
    assert found is not None
    assert (found.tenant_id, found.method, found.ignored_claim) == ("tenant-c", "header", False)


@pytest.mark.security
@pytest.mark.parametrize("claim", ["tenant-c", "tenant-a", "tenant-b", "nobody", "x" * 5000, "\x00"])
def test_t1_a_client_cannot_choose_its_tenant(resolver: TenantResolver, claim: str) -> None:
    found = resolver.resolve(client("10.1.2.3"), claimed=claim)
    assert found is not None
    assert (found.tenant_id, found.method, found.ignored_claim) == ("tenant-b", "network", True)


@pytest.mark.security
@pytest.mark.parametrize("claim", ["nobody", "TENANT-A", "tenant-a, tenant-b", "tenant-a\x00"])
def test_t1_an_unknown_tenant_of_a_trusted_peer_is_refused_not_guessed(resolver: TenantResolver, claim: str) -> None:
    assert resolver.resolve(client("10.1.2.3", trusted=True), claimed=claim) is None


@pytest.mark.security
def test_t1_header_does_not_move_a_listener_of_one_tenant(resolver: TenantResolver) -> None:
    found = resolver.resolve(client(listener="c-only", trusted=True), claimed="tenant-a")
    assert found is not None
    assert (found.tenant_id, found.method, found.ignored_claim) == ("tenant-c", "listener", True)
    same = resolver.resolve(client(listener="c-only", trusted=True), claimed="tenant-c")
    assert same is not None
    assert not same.ignored_claim


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x.tenant-b.com", "tenant-b"),
        ("a.b.c.tenant-b.com", "tenant-b"),
        ("tenant-b.com", "tenant-b"),
        ("X.Tenant-B.COM.", "tenant-b"),
        ("only.b.test", "tenant-b"),
        ("eviltenant-b.com", "default"),
        ("x.tenant-b.com.evil.test", "default"),
        ("below.only.b.test", "default"),
        ("tenant-b.com..", "default"),
        ("", "default"),
        ("not a host", "default"),
    ],
)
def test_ten_03_suffix_of_names(resolver: TenantResolver, name: str, expected: str) -> None:
    found = resolver.resolve(client(), names=[name])
    assert found is not None
    assert found.tenant_id == expected


def test_ten_03_internationalised_names_are_compared_as_a_labels() -> None:
    found = TenantResolver([tenant("u", match={"sni": [".bücher.example"]})]).resolve(client(), names=["Shop.BÜCHER.example"])
    assert found is not None
    assert found.detail == "child_match xn--bcher-kva.example"


def test_ten_03_first_name_that_belongs_to_a_tenant_counts(resolver: TenantResolver) -> None:
    found = resolver.resolve(client(), names=["elsewhere.test", "x.tenant-b.com", "x.tenant-a.com"])
    assert found is not None
    assert found.tenant_id == "tenant-b"


@given(st.lists(LABEL, min_size=1, max_size=4), LABEL)
def test_ten_03_a_suffix_matches_whole_labels_only(labels: list[str], stem: str) -> None:
    resolver = TenantResolver([tenant("t", match={"sni": [f".{stem}.example"]})])
    below = ".".join([*labels, stem, "example"])
    glued = "x" + f"{stem}.example" if len(stem) < 60 else "other.example"
    assert resolver.resolve(client(), names=[below]) is not None
    assert resolver.resolve(client(), names=[glued]) is None


def test_ten_04_default_tenant_and_its_absence(resolver: TenantResolver) -> None:
    found = resolver.resolve(client())
    assert found is not None
    assert (found.tenant_id, found.method) == ("default", "default")
    assert TenantResolver([A, B]).resolve(client()) is None
    assert TenantResolver([]).resolve(client(), claimed="x", names=["y.test"]) is None


@pytest.mark.parametrize(("network", "header", "name"), list(product([False, True], repeat=3)))
def test_ten_05_every_combination_has_the_documented_winner(
    resolver: TenantResolver, network: bool, header: bool, name: bool
) -> None:
    found = resolver.resolve(
        client("10.1.9.9" if network else "192.0.2.1", trusted=True),
        claimed="tenant-c" if header else "",
        names=["x.tenant-b.com"] if name else [],
    )
    given_methods = {"header": header, "network": network, "name": name, "default": True}
    assert found is not None
    assert found.method == next(method for method in METHODS if given_methods.get(method))
    assert found.tenant_id == {"header": "tenant-c", "network": "tenant-a", "name": "tenant-b"}.get(found.method, "default")


def test_ten_05_listener_goes_first(resolver: TenantResolver) -> None:
    asked = client("10.1.9.9", listener="c-only", trusted=True)
    found = resolver.resolve(asked, claimed="tenant-b", names=["x.tenant-b.com"])
    assert found is not None
    assert (found.tenant_id, found.method, found.detail) == ("tenant-c", "listener", "c-only")
    given_tenant = resolver.resolve(client("10.1.9.9"), listener_tenant="tenant-b")
    assert given_tenant is not None
    assert given_tenant.tenant_id == "tenant-b"


def test_ten_05_listener_of_an_unknown_tenant_is_refused(resolver: TenantResolver) -> None:
    assert resolver.resolve(client(), listener_tenant="gone") is None


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.text(max_size=40), st.lists(st.text(max_size=40), max_size=3))
def test_any_input_has_a_known_tenant_or_none(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address, claim: str, names: list[str]
) -> None:
    resolver = TenantResolver([A, B, DEFAULT])
    found = resolver.resolve(client(str(ip)), claimed=claim, names=names)
    assert found is not None
    assert found.tenant_id in ("tenant-a", "tenant-b", "default")
    assert found.ignored_claim == bool(claim.strip(" \t"))


def test_ten_05_the_documented_table_is_the_order_in_the_code() -> None:
    text = (Path(__file__).parents[3] / "docs" / "policy.md").read_text()
    assert tuple(re.findall(r"^\| \d \| `(\w+)` \|", text, re.MULTILINE)) == METHODS
