"""Files to configurations."""

from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from appliance.config.load import load
from appliance.config.root import AppConfig
from appliance.domain.errors import ConfigError
from tests.appliance.config.base import BASE, changed, loads

EVERYTHING = """\
state_dir: state
workers: auto
log: {level: debug, target: stderr}
ca:
  - {name: main, certificate: ca.pem, private_key: ca.key, leaf_days: 30}
resolver:
  - {name: local, type: system, hosts: {o.test: ["127.0.0.1", "::1"]}, cache_ttl: 1m}
escaper:
  - name: direct
    type: direct_fixed
    resolver: local
    bind_ip: ["192.0.2.1", "2001:db8::1"]
    egress_network_filter: {allow: [127.0.0.0/8], deny: [127.0.0.9/32]}
  - {name: one, type: proxy_http, proxy_addr: "proxy.test:3128", auth: {username: u, password: p}}
  - {name: two, type: proxy_https, proxy_addr: "[2001:db8::2]:3129", tls_client: {ca_certificate: ca.pem, server_name: p.test}}
  - {name: three, type: proxy_socks5, proxy_addr: "192.0.2.3:1080", resolve_locally: true, tenants: [acme]}
  - {name: none, type: dummy_deny}
  - name: routes
    type: route_upstream
    resolver: local
    rules:
      - {exact_match: one.test, next: one}
      - {child_match: .two.test, next: two}
      - {subnet_match: 198.51.100.0/24, next: none}
      - {regex_match: 'x[0-9]+\\.test', next: three, tenant: acme}
    fallback_next: direct
auditor:
  - name: inspect
    tls_interception:
      upstream_trust: {ca_files: [ca.pem], system_roots: false}
      rules: [{name: r, action: block, hosts: [.bad.test], ports: [443], networks: [10.0.0.0/8], users: [alice]}]
      splice: [.bank.test]
      default_action: intercept
    icap_reqmod_service: icap://127.0.0.1:1344/reqmod
    icap_respmod_service: icaps://scan.test/respmod
    icap_on_error: bypass
    application_audit_ratio: 0.5
  - {name: blind, tls_interception: null}
user_group:
  - name: people
    static_users:
      - name: alice
        password_hash: $argon2id$v=19$m=19456,t=2,p=1$MTIzNDU2Nzg5MDEy$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAx
        dst_port_filter: [80, 443]
        source_ip_filter: [10.0.0.0/8]
        block_config: {delay: 2s, until: 2030-01-01T00:00:00Z}
tenant:
  - tenant_id: acme
    match: {networks: [10.0.0.0/8, "2001:db8::/32"], sni: [.acme.test]}
    ca: main
    auditor: inspect
    escaper: routes
    user_group: people
    policies:
      - {name: p, level: site, config: {hosts: {exact: [a.test]}, action: redirect, redirect_url: "https://why.test/"}}
  - {tenant_id: default, ca: main, auditor: blind}
server:
  - name: explicit
    type: http_proxy
    listen: {address: "0.0.0.0:8080", backlog: 16}
    escaper: direct
    tls: {certificate: ca.pem, private_key: ca.key}
    ingress_network_filter: {default: deny, allow: [10.0.0.0/8]}
    trusted_proxies: [10.0.0.1/32]
    timeouts: {header: 5s}
    limits: {header_size: 32K}
  - {name: socks, type: socks_proxy, listen: {address: "[::1]:1080"}, escaper: direct, user_group: people}
  - {name: tp, type: tcp_tproxy, mode: tproxy, listen: {address: "127.0.0.1:8081"}, tenant_context: {tenant_id: acme}}
icap_server:
  listen: {address: "127.0.0.1:1344"}
  scanner: {type: clamd, managed: true}
admin: {listen: {address: "127.0.0.1:9090"}}
audit:
  store: {type: sqlite, path: audit.db, retention: 30d}
  json_lines: {path: audit.jsonl, rotate_size: 1G}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("config")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    ca.private_key_pem.write_to_path(str(folder / "ca.key"))
    (folder / "arcus.yaml").write_text(EVERYTHING)
    return folder


def test_cfg_every_kind_of_node_loads_without_a_warning(folder: Path) -> None:
    loaded = load(folder / "arcus.yaml")
    assert loaded.warnings == ()
    assert loaded.text == EVERYTHING
    assert [node.type for node in loaded.config.escaper] == [
        "direct_fixed",
        "proxy_http",
        "proxy_https",
        "proxy_socks5",
        "dummy_deny",
        "route_upstream",
    ]


def test_cfg_relative_paths_are_taken_from_the_files_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    config = load(Path(folder.name) / "arcus.yaml").config
    assert config.state_dir == folder / "state"
    assert config.ca[0].certificate == folder / "ca.pem"
    assert config.audit.store.path == folder / "audit.db"


def test_cfg_default_state_dir_is_beside_the_file() -> None:
    assert loads(changed(("state_dir: ./state\n", ""))).config.state_dir == Path("/nowhere/state")


def test_cfg_units_are_seconds_and_bytes(folder: Path) -> None:
    server = load(folder / "arcus.yaml").config.server[0]
    assert (server.timeouts.header, server.limits.header_size) == (5.0, 32768)


def test_cfg_15_secrets_are_not_in_messages_or_representations(folder: Path) -> None:
    assert "argon2id" not in repr(load(folder / "arcus.yaml").config)
    secret = "hunter2-hunter2"
    with pytest.raises(ConfigError) as caught:
        loads(
            changed(
                (
                    "        token: {salt: ab, sha1: a9993e364706816aba3e25717850c26c9cd0d89d}",
                    f"        password_hash: [{secret}]",
                )
            )
        )
    assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent.yaml", "cannot be read: No such file or directory"), (".", "cannot be read: Is a directory")],
)
def test_cfg_unreadable_file(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: {message}"


@pytest.mark.parametrize("text", ["", "# nothing\n", "5", "[]", "just words"])
def test_cfg_no_mapping(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(text)
    assert str(caught.value) == "x.yaml:1: no configuration: the file must hold keys such as server, tenant and escaper"


def test_cfg_each_required_section_is_told_once() -> None:
    with pytest.raises(ConfigError) as caught:
        loads("workers: 1\n")
    assert [problem.path for problem in caught.value.problems] == ["ca", "escaper", "auditor", "tenant", "server"]


def test_cfg_malformed_nodes_do_not_hide_other_problems_nor_make_new_ones() -> None:
    # the escaper is malformed, yet its name is known to those who refer to it
    with pytest.raises(ConfigError) as caught:
        loads(
            changed(("    resolver: local\n", "    connect_timeout: soon\n"), ("a.test, next: parent", "a.test, next: nobody"))
        )
    assert [problem.path for problem in caught.value.problems] == [
        "escaper[direct].connect_timeout",
        "escaper[router].rules[0].next",
    ]


def test_cfg_empty_section_is_no_section() -> None:
    assert loads(BASE + "icap_server:\naudit:\n").config.icap_server is None


@pytest.mark.parametrize(
    ("edits", "path", "start"),
    [
        ([("127.0.0.1:1080", "0.0.0.0:1080"), ("socks_proxy", "tcp_tproxy")],
         "server[socks].listen.address", "0.0.0.0:1080 takes"),
        ([("tenant_id: default", "tenant_id: other")], "tenant", "no tenant 'default'"),
        ([("b.test, next: parent, tenant: blue", "b.test, next: parent}\n      - {child_match: .b.test, next: direct")],
         "escaper[router].rules[2]", "never used: the rule at line 21"),
        ([("{child: [games.test]}}", "{child: [games.test]}, action: require_auth}"), ("    user_group: people\n", "")],
         "tenant[blue].policies[no-games]", "require_auth, but no user_group"),
    ],
)  # fmt: skip
def test_cfg_warnings(edits: list[tuple[str, str]], path: str, start: str) -> None:
    warnings = loads(changed(*edits)).warnings
    assert [warning.path for warning in warnings if warning.message.startswith(start)] == [path]


@pytest.mark.parametrize(
    "edits",
    [
        ['    ingress_network_filter: {default: deny, allow: ["10.0.0.0/8"]}'],
        ["    ingress_network_filter: {deny: [0.0.0.0/0], allow: [10.0.0.0/8]}"],
        ["    user_group: people"],
        ["    tenant_context: {tenant_id: blue}"],
    ],
)
def test_cfg_11_a_limited_listener_is_no_open_proxy(edits: list[str]) -> None:
    address = '"127.0.0.1:8080"}\n'
    loads(changed((address, '"0.0.0.0:8080"}\n' + "\n".join(edits) + "\n")))


@pytest.mark.security
def test_cfg_11_an_allowed_everything_is_an_open_proxy() -> None:
    address = '"127.0.0.1:8080"}\n'
    filters = "    ingress_network_filter: {default: deny, allow: [0.0.0.0/0]}\n"
    with pytest.raises(ConfigError, match="open proxy"):
        loads(changed((address, '"0.0.0.0:8080"}\n' + filters)))


def test_cfg_private_key_of_another_certificate(folder: Path, tmp_path: Path) -> None:
    trustme.CA().private_key_pem.write_to_path(str(tmp_path / "other.key"))
    text = EVERYTHING.replace("private_key: ca.key}\n    ingress", f"private_key: {tmp_path / 'other.key'}}}\n    ingress")
    assert text != EVERYTHING
    with pytest.raises(ConfigError) as caught:
        loads(text, folder)
    expected = f"{tmp_path / 'other.key'}: the private key does not belong to the certificate in {folder / 'ca.pem'}"
    assert [problem.message for problem in caught.value.problems] == [expected]


@pytest.mark.parametrize(("content", "message"), [(b"", "is empty"), (b"no pem\n", "holds no certificate in PEM form")])
def test_cfg_roots_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "roots.pem").write_bytes(content)
    edit = ("      splice:", "      upstream_trust: {ca_files: [roots.pem]}\n      splice:")
    with pytest.raises(ConfigError) as caught:
        loads(changed(edit), tmp_path)
    assert [problem.message for problem in caught.value.problems] == [f"{tmp_path / 'roots.pem'}: {message}"]


@given(st.text(max_size=200))
def test_cfg_any_text_is_a_configuration_or_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError):
        loads(text)


_TREE: Any = YAML(typ="safe", pure=True).load(BASE)
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["direct", "router", "blue", "0.0.0.0:0", "10.0.0.0/8", "9" * 20 + "T", "[::]:1", "\x1b[0m"]),
)  # fmt: skip
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2), max_leaves=4
)


def _paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path] * bool(path) + [each for key, value in items for each in _paths(value, (*path, key))]


def _mutated(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(node) if isinstance(node, dict) else list(node)
    copy[path[0]] = _mutated(node[path[0]], path[1:], value)
    return copy


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=200, deadline=None)
@given(st.sampled_from(_paths(_TREE)), _VALUES)
def test_cfg_any_value_anywhere_is_accepted_or_a_config_error_with_a_line(path: tuple[Any, ...], value: Any) -> None:
    import json

    text = json.dumps(_mutated(_TREE, path, value)).replace("NaN", ".nan").replace("Infinity", ".inf")
    try:
        assert isinstance(loads(text).config, AppConfig)
    except ConfigError as error:
        assert all(problem.line >= 1 and problem.message and str(problem).isprintable() for problem in error.problems)
