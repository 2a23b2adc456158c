"""Configurations that are wrong in one place, and exactly what is said about it. CFG-11, CFG-12, SRV-11, SRV-12, T28."""

# ruff: noqa: E501 - a message stands as it is shown

import pytest

from appliance.domain.errors import ConfigError
from tests.appliance.config.base import changed, loads

# name, edits of the base, and the lines that must come, without the file's name
CASES: list[tuple[str, list[tuple[str, str]], list[str]]] = [
    ("cfg_unknown_top_key", [("workers: 2", "worker: 2")], ["2: worker: unknown key 'worker'; did you mean 'workers'?"]),
    (
        "cfg_unknown_key_without_neighbour",
        [("{level: info}", "{zzz: 1}")],
        ["3: log.zzz: unknown key 'zzz'; known here: level, target"],
    ),
    (
        "cfg_unknown_nested_key",
        [("{level: info}", "{levle: info}")],
        ["3: log.levle: unknown key 'levle'; did you mean 'level'?"],
    ),
    (
        "cfg_unknown_key_in_union",
        [("    resolver: local\n", "    reslover: local\n")],
        ["13: escaper[direct].reslover: unknown key 'reslover'; did you mean 'resolver'?"],
    ),
    (
        "cfg_unknown_key_deep",
        [("config: {hosts: {child: [games.test]}}", "config: {hosts: {childs: [games.test]}}")],
        ["44: tenant[blue].policies[no-games].config.hosts.childs: unknown key 'childs'; did you mean 'child'?"],
    ),
    (
        "cfg_duplicate_key",
        [("workers: 2", "workers: 2\nworkers: 3")],
        ["3: workers: duplicate key 'workers': first given at line 2"],
    ),
    (
        "cfg_workers_zero",
        [("workers: 2", "workers: 0")],
        ["2: workers: unknown value '0': one of auto, or a whole number from 1 to 256"],
    ),
    (
        "cfg_workers_word",
        [("workers: 2", "workers: many")],
        ["2: workers: unknown value 'many': one of auto, or a whole number from 1 to 256"],
    ),
    (
        "cfg_bad_literal",
        [("{level: info}", "{level: loud}")],
        ["3: log.level: unknown value 'loud': one of debug, info, warning, error"],
    ),
    (
        "cfg_missing_section",
        [("  - name: main", "  - name: main\nauditors: []")],
        ["6: auditors: unknown key 'auditors'; did you mean 'auditor'?"],
    ),
    (
        "cfg_12_unknown_type",
        [("type: proxy_http", "type: proxy_htp")],
        [
            "14: escaper[parent]: unknown type 'proxy_htp': one of direct_fixed, proxy_http, proxy_https, proxy_socks5, dummy_deny, route_upstream"
        ],
    ),
    ("cfg_12_missing_type", [("    type: system\n", "")], ["7: resolver[local].type: this key is required"]),
    (
        "cfg_12_missing_key",
        [('    proxy_addr: "192.0.2.1:3128"\n', "")],
        ["14: escaper[parent].proxy_addr: this key is required"],
    ),
    (
        "cfg_12_unknown_next",
        [("a.test, next: parent", "a.test, next: paernt")],
        [
            "20: escaper[router].rules[0].next: no escaper is named 'paernt'; did you mean 'parent'? defined: direct, parent, router"
        ],
    ),
    (
        "cfg_12_unknown_fallback",
        [("fallback_next: direct", "fallback_next: elsewhere")],
        ["22: escaper[router].fallback_next: no escaper is named 'elsewhere'; defined: direct, parent, router"],
    ),
    (
        "cfg_12_unknown_resolver",
        [("    resolver: local\n", "    resolver: locale\n")],
        ["13: escaper[direct].resolver: no resolver is named 'locale'; did you mean 'local'? defined: local"],
    ),
    (
        "cfg_12_unknown_rule_tenant",
        [("tenant: blue}", "tenant: green}")],
        ["21: escaper[router].rules[1].tenant: no tenant is named 'green'; defined: blue, default"],
    ),
    (
        "cfg_12_duplicate_escaper",
        [("  - name: parent", "  - name: direct")],
        [
            "14: escaper[direct].name: 'direct' is defined twice: first at line 11",
            "20: escaper[router].rules[0].next: no escaper is named 'parent'; defined: direct, router",
            "21: escaper[router].rules[1].next: no escaper is named 'parent'; defined: direct, router",
        ],
    ),
    (
        "cfg_12_cycle",
        [("fallback_next: direct", "fallback_next: router")],
        ["17: escaper[router]: escapers go round in circles: router -> router"],
    ),
    (
        "t28_cycle_of_two",
        [
            (
                "fallback_next: direct\n",
                "fallback_next: second\n  - {name: second, type: route_upstream, fallback_next: router}\n",
            )
        ],
        ["17: escaper[router]: escapers go round in circles: router -> second -> router"],
    ),
    (
        "cfg_12_two_matches",
        [("{exact_match: a.test,", "{exact_match: a.test, child_match: a.test,")],
        ["20: escaper[router].rules[0]: give exactly one of exact_match, child_match, subnet_match and regex_match"],
    ),
    (
        "cfg_12_no_match",
        [("{exact_match: a.test, next", "{next")],
        ["20: escaper[router].rules[0]: give exactly one of exact_match, child_match, subnet_match and regex_match"],
    ),
    (
        "cfg_12_regex_bomb",
        [("{exact_match: a.test,", "{regex_match: '(a+)+b',")],
        ["20: escaper[router].rules[0].regex_match: pattern repeats a repeat, which can take exponential time: '(a+)+b'"],
    ),
    (
        "cfg_12_regex_broken",
        [("{exact_match: a.test,", "{regex_match: '(a',")],
        [
            "20: escaper[router].rules[0].regex_match: not a regular expression: '(a' (missing ), unterminated subpattern at position 0)"
        ],
    ),
    (
        "cfg_12_bad_network",
        [("{exact_match: a.test,", "{subnet_match: 10.0.0.1/8,")],
        ["20: escaper[router].rules[0].subnet_match: not a network: '10.0.0.1/8' (10.0.0.1/8 has host bits set)"],
    ),
    (
        "cfg_12_parent_is_own_listener",
        [("192.0.2.1:3128", "127.0.0.1:8080")],
        [
            "16: escaper[parent].proxy_addr: 127.0.0.1:8080 is server 'explicit' of this configuration: traffic would go in circles"
        ],
    ),
    (
        "cfg_date",
        [('splice: [".bank.test"]', "exclusions: {hosts: [{host: a.test, reason: r, until: 2027-6-31}]}")],
        ["26: auditor[inspect].tls_interception.exclusions.hosts[0].until: not a date: '2027-6-31' (write 2027-06-30)"],
    ),
    (
        "cfg_date_and_time",
        [("      - name: alice\n", "      - name: alice\n        block_config: {until: soon}\n")],
        [
            "34: user_group[people].static_users[alice].block_config.until: not a date and time: 'soon' "
            "(write 2027-06-30T18:00:00+02:00, or without the offset for UTC)"
        ],
    ),
    (
        "cfg_12_bind_ip_is_name",
        [("    resolver: local\n", "    bind_ip: [localhost]\n")],
        ["13: escaper[direct].bind_ip: not an IP address: 'localhost'"],
    ),
    (
        "cfg_12_bind_ip_twice",
        [("    resolver: local\n", "    bind_ip: [192.0.2.1, 192.0.2.2]\n")],
        ["13: escaper[direct].bind_ip: two addresses of one family: 192.0.2.1 and 192.0.2.2"],
    ),
    (
        "cfg_resolver_hosts_are_names",
        [('["127.0.0.1"]', "[other.test]")],
        ["9: resolver[local].hosts: host 'origin.test' needs IP addresses, not other.test"],
    ),
    (
        "srv_11_unknown_escaper",
        [('8080"}\n    escaper: direct', '8080"}\n    escaper: dircet')],
        ["52: server[explicit].escaper: no escaper is named 'dircet'; did you mean 'direct'? defined: direct, parent, router"],
    ),
    (
        "srv_11_unknown_user_group",
        [('8080"}\n', '8080"}\n    user_group: poeple\n')],
        ["52: server[explicit].user_group: no user group is named 'poeple'; did you mean 'people'? defined: people"],
    ),
    (
        "srv_11_same_name",
        [("  - name: socks", "  - name: explicit")],
        ["53: server[explicit].name: 'explicit' is defined twice: first at line 49"],
    ),
    (
        "srv_11_unknown_tenant_context",
        [('8080"}\n', '8080"}\n    tenant_context: {tenant_id: red}\n')],
        ["52: server[explicit].tenant_context.tenant_id: no tenant is named 'red'; defined: blue, default"],
    ),
    (
        "srv_12_bad_address",
        [("127.0.0.1:8080", "127.0.0.1")],
        ["51: server[explicit].listen.address: not an address: '127.0.0.1' (write 127.0.0.1:8080 or [::]:8080)"],
    ),
    (
        "srv_12_bad_port",
        [("127.0.0.1:8080", "127.0.0.1:99999")],
        ["51: server[explicit].listen.address: not an address: '127.0.0.1:99999' (not a port: '99999')"],
    ),
    (
        "srv_12_ambiguous_host",
        [("127.0.0.1:8080", "127.1:8080")],
        ["51: server[explicit].listen.address: not an address: '127.1:8080' (not a canonical IPv4 address: '127.1')"],
    ),
    (
        "srv_12_address_is_number",
        [('"127.0.0.1:8080"', "8080")],
        ["51: server[explicit].listen.address: not an address: 8080 (write 127.0.0.1:8080 or [::]:8080)"],
    ),
    (
        "cfg_11_same_address",
        [("127.0.0.1:1080", "127.0.0.1:8080")],
        ["55: server[socks].listen.address: 127.0.0.1:8080 is taken by server 'explicit', which listens on 127.0.0.1:8080"],
    ),
    (
        "cfg_11_overlapping_address",
        [
            ("127.0.0.1:9090", "127.0.0.1:7000"),
            ("127.0.0.1:1080", "[::]:7000"),
            (
                "    escaper: direct\nadmin",
                '    escaper: direct\n    ingress_network_filter: {default: deny, allow: ["10.0.0.0/8"]}\nadmin',
            ),
        ],
        ["59: admin.listen.address: 127.0.0.1:7000 is taken by server 'socks', which listens on [::]:7000"],
    ),
    (
        "cfg_11_open_proxy",
        [("127.0.0.1:8080", "0.0.0.0:8080")],
        [
            "51: server[explicit].listen.address: open proxy for tenant default: 0.0.0.0:8080 can be used from every network, without authentication; add a user_group that is not anonymous, or an ingress_network_filter with default: deny and your networks under allow"
        ],
    ),
    (
        "cfg_11_open_proxy_by_halves",
        [('"127.0.0.1:8080"}', '"[::]:8080"}\n    ingress_network_filter: {default: deny, allow: [0.0.0.0/1, 128.0.0.0/1]}')],
        [
            "51: server[explicit].listen.address: open proxy for tenant default: [::]:8080 can be used from every network, without authentication; add a user_group that is not anonymous, or an ingress_network_filter with default: deny and your networks under allow"
        ],
    ),
    (
        "cfg_11_open_proxy_anonymous",
        [
            ('"127.0.0.1:8080"}', '"0.0.0.0:8080"}\n    user_group: people'),
            ("  - name: people", "  - name: people\n    anonymous: true"),
        ],
        [
            "52: server[explicit].listen.address: open proxy: 0.0.0.0:8080 can be used from every network, without authentication; add a user_group that is not anonymous, or an ingress_network_filter with default: deny and your networks under allow"
        ],
    ),
    (
        "cfg_admin_remote",
        [("127.0.0.1:9090", "0.0.0.0:9090")],
        [
            "58: admin.listen.address: 0.0.0.0:9090 can be reached from other machines: listen on 127.0.0.1, or set allow_remote: true"
        ],
    ),
    (
        "cfg_tls_files_missing",
        [('8080"}\n', '8080"}\n    tls: {certificate: c.pem, private_key: k.pem}\n')],
        [
            "52: server[explicit].tls.certificate: /nowhere/c.pem: cannot be read: No such file or directory",
            "52: server[explicit].tls.private_key: /nowhere/k.pem: cannot be read: No such file or directory",
        ],
    ),
    (
        "cfg_ca_files_missing",
        [("      splice:", "      upstream_trust: {ca_files: [roots.pem]}\n      splice:")],
        [
            "26: auditor[inspect].tls_interception.upstream_trust.ca_files[0]: /nowhere/roots.pem: cannot be read: No such file or directory"
        ],
    ),
    (
        "cfg_ca_certificate_without_key",
        [("  - name: main", "  - name: main\n    certificate: c.pem")],
        ["6: ca[main].certificate: certificate is given without private_key"],
    ),
    ("cfg_path_is_number", [("state_dir: ./state", "state_dir: 5")], ["1: state_dir: must be a path"]),
    ("cfg_path_is_empty", [("state_dir: ./state", 'state_dir: ""')], ["1: state_dir: not a path: '.'"]),
    (
        "ten_unknown_ca",
        [
            (
                "    ca: main\n    auditor: inspect\n    escaper: router",
                "    ca: mian\n    auditor: inspect\n    escaper: router",
            )
        ],
        ["38: tenant[blue].ca: no CA is named 'mian'; did you mean 'main'? defined: main"],
    ),
    (
        "ten_unknown_auditor",
        [("    auditor: inspect\nserver", "    auditor: inspekt\nserver")],
        ["47: tenant[default].auditor: no auditor is named 'inspekt'; did you mean 'inspect'? defined: inspect"],
    ),
    (
        "ten_no_way_out",
        [('1080"}\n    escaper: direct', '1080"}')],
        ["45: tenant[default]: no way out on server socks: give this tenant an escaper, or the server one for tenants without"],
    ),
    (
        "ten_same_id",
        [("tenant_id: default", "tenant_id: blue")],
        ["45: tenant[blue].tenant_id: 'blue' is defined twice: first at line 36"],
    ),
    (
        "ten_same_network",
        [("tenant_id: default", "tenant_id: default\n    match: {networks: [10.0.0.0/8]}")],
        ["46: tenant[default].match.networks[0]: 10.0.0.0/8 belongs to tenant 'blue' already"],
    ),
    (
        "esc_30_closed_escaper",
        [("    resolver: local\n", "    tenants: [default]\n")],
        [
            "40: tenant[blue].escaper: tenant 'blue' is routed to escaper 'direct' (by router -> direct), which is only for: default"
        ],
    ),
    (
        "esc_30_closed_by_server",
        [
            ("    proxy_addr", "    tenants: [blue]\n    proxy_addr"),
            ('1080"}\n    escaper: direct', '1080"}\n    escaper: parent'),
        ],
        ["57: server[socks].escaper: tenant 'default' is routed to escaper 'parent', which is only for: blue"],
    ),
    (
        "esc_30_unknown_tenant",
        [("    proxy_addr", "    tenants: [red]\n    proxy_addr")],
        [
            "16: escaper[parent].tenants[0]: no tenant is named 'red'; defined: blue, default",
            "41: tenant[blue].escaper: tenant 'blue' is routed to escaper 'parent' (by router -> parent), which is only for: red",
        ],
    ),
    (
        "pol_redirect_without_url",
        [("{child: [games.test]}}", "{child: [games.test]}, action: redirect}")],
        ["44: tenant[blue].policies[no-games].config: action redirect needs redirect_url"],
    ),
    (
        "pol_unknown_group",
        [("{child: [games.test]}}", "{child: [games.test]}, groups: [gamers]}")],
        ["44: tenant[blue].policies[no-games].config.groups[0]: no user group is named 'gamers'; defined: people"],
    ),
    (
        "pol_same_name",
        [("      - name: no-games", "      - name: no-games\n      - name: no-games")],
        ["44: tenant[blue].policies[no-games].name: 'no-games' is defined twice: first at line 43"],
    ),
    (
        "usr_two_secrets",
        [("        token:", "        password_hash: x\n        token:")],
        ["33: user_group[people].static_users[alice]: give exactly one of password_hash and token"],
    ),
    (
        "usr_bad_name",
        [("      - name: alice", "      - name: 'a:b'")],
        [
            "33: user_group[people].static_users[a:b].name: a user name has 1 to 255 characters, without ':' and control characters (RFC 7617)"
        ],
    ),
    (
        "usr_same_user",
        [("    static_users:", "    static_users:\n      - {name: alice, password_hash: x}")],
        ["34: user_group[people].static_users[alice].name: 'alice' is defined twice: first at line 33"],
    ),
    (
        "cfg_bad_duration",
        [("icap_timeout: 30s", "icap_timeout: 30 parsecs")],
        ["29: auditor[inspect].icap_timeout: not a duration: '30 parsecs' (write 500ms, 30s, 5m, 2h or 1d)"],
    ),
    (
        "cfg_duration_is_bool",
        [("icap_timeout: 30s", "icap_timeout: true")],
        ["29: auditor[inspect].icap_timeout: not a duration: True (write 500ms, 30s, 5m, 2h or 1d)"],
    ),
    (
        "cfg_duration_negative",
        [("icap_timeout: 30s", "icap_timeout: -1")],
        ["29: auditor[inspect].icap_timeout: should be greater than or equal to 0"],
    ),
    (
        "cfg_bad_size",
        [("icap_timeout: 30s", "max_scan_size: 5 elephants")],
        ["29: auditor[inspect].max_scan_size: not a size: '5 elephants' (write 512, 64K, 100M or 2G)"],
    ),
    (
        "cfg_bad_icap_uri",
        [("icap_timeout: 30s", "icap_reqmod_service: http://127.0.0.1/")],
        ["29: auditor[inspect].icap_reqmod_service: not an ICAP URI: 'http://127.0.0.1/' (write icap://host:1344/service)"],
    ),
    (
        "cfg_icap_uri_without_service",
        [("icap_timeout: 30s", "icap_reqmod_service: icap://127.0.0.1:1344/")],
        [
            "29: auditor[inspect].icap_reqmod_service: not an ICAP URI: 'icap://127.0.0.1:1344/' (write icap://host:1344/service)"
        ],
    ),
    (
        "cfg_icap_uri_bad_port",
        [("icap_timeout: 30s", "icap_respmod_service: icap://127.0.0.1:x/respmod")],
        ["29: auditor[inspect].icap_respmod_service: not a port: 'x'"],
    ),
    (
        "pol_redirect_to_script",
        [("{child: [games.test]}}", "{child: [games.test]}, action: redirect, redirect_url: 'javascript:x'}")],
        [
            "44: tenant[blue].policies[no-games].config.redirect_url: not an http or https URL without user information: 'javascript:x'"
        ],
    ),
    (
        "pol_block_page_with_user",
        [("{child: [games.test]}}", "{child: [games.test]}, block_page_url: 'https://a@b.test/'}")],
        [
            "44: tenant[blue].policies[no-games].config.block_page_url: not an http or https URL without user information: 'https://a@b.test/'"
        ],
    ),
    (
        "cfg_clamd_bad_tcp",
        [("admin:", "icap_server:\n  listen: {address: 127.0.0.1:1344}\n  scanner: {type: clamd, tcp: here}\nadmin:")],
        ["59: icap_server.scanner.tcp: no port: 'here'"],
    ),
    (
        "cfg_network_is_number",
        [("[10.0.0.0/8]", "[10]")],
        ["37: tenant[blue].match.networks[0]: not a network: 10 (write 10.0.0.0/8)"],
    ),
    ("cfg_bad_domain", [("[.blue.test]", "['.blue..test']")], ["37: tenant[blue].match.sni[0]: not a host name: 'blue..test'"]),
    (
        "cfg_name_pattern",
        [("  - name: people", "  - name: 'no spaces'")],
        [
            "31: user_group[no spaces].name: a name has 1 to 64 letters, digits, '_', '.' or '-', and begins with a letter or a digit",
            "41: tenant[blue].user_group: no user group is named 'people'; defined: no spaces",
        ],
    ),
    ("cfg_section_is_mapping", [("  - name: main", "  name: main")], ["4: ca: must be a list (each item starts with '- ')"]),
    (
        "cfg_text_is_number",
        [("tenant_id: default", "tenant_id: 5")],
        ["45: tenant[1].tenant_id: must be text (put it in quotes)"],
    ),
    (
        "cfg_empty_section",
        [("ca:\n  - name: main", "ca: []")],
        [
            "4: ca: at least one ca is needed",
            "37: tenant[blue].ca: no CA is named 'main'; defined: none",
            "45: tenant[default].ca: no CA is named 'main'; defined: none",
        ],
    ),
    (
        "cfg_clamd_without_address",
        [("admin:", "icap_server:\n  listen: {address: 127.0.0.1:1344}\n  scanner: {type: clamd}\nadmin:")],
        ["59: icap_server.scanner: give socket or tcp, or set managed: true"],
    ),
    (
        "cfg_clamd_two_addresses",
        [
            (
                "admin:",
                "icap_server:\n  listen: {address: 127.0.0.1:1344}\n  scanner: {type: clamd, socket: s, tcp: 'h:1'}\nadmin:",
            )
        ],
        ["59: icap_server.scanner: give socket or tcp, not both"],
    ),
    (
        "cfg_several_at_once",
        [("workers: 2", "workers: x"), ("fallback_next: direct", "fallback_next: direkt"), ("127.0.0.1:9090", "0.0.0.0:9090")],
        [
            "2: workers: unknown value 'x': one of auto, or a whole number from 1 to 256",
            "22: escaper[router].fallback_next: no escaper is named 'direkt'; did you mean 'direct'? defined: direct, parent, router",
            "58: admin.listen.address: 0.0.0.0:9090 can be reached from other machines: listen on 127.0.0.1, or set allow_remote: true",
        ],
    ),
]


@pytest.mark.unit
@pytest.mark.parametrize(("edits", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_cfg_11_cfg_12_message(edits: list[tuple[str, str]], expected: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(changed(*edits))
    assert [str(problem) for problem in caught.value.problems] == [f"x.yaml:{line}" for line in expected]


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 40
    assert len({case[0] for case in CASES}) == len(CASES)
