"""Decryption rules and host lists in the file: what is refused, where it is told, and what is only worth a warning."""

from pathlib import Path

import pytest

from appliance.config.load import parse
from appliance.config.plan import compare
from appliance.domain.errors import ConfigError
from tests.appliance.config.base import changed, loads

pytestmark = pytest.mark.unit

RULE = "        - {name: pinned, action: splice, hosts: [pinned.test]}\n"
LISTS = "host_list:\n  - {name: banks, hosts: [.bank.test], file: banks.txt}\nauditor:\n"


def with_rules(*rules: str, lists: str = "") -> str:
    text = changed((RULE, "".join(f"        - {rule}\n" for rule in rules)))
    return text.replace("auditor:\n", lists, 1) if lists else text


def problems(text: str, base: Path = Path("/nowhere")) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, file="x.yaml", base=base)
    return [str(problem) for problem in caught.value.problems]


def test_c1_a_rule_with_everything_in_it(tmp_path: Path) -> None:
    (tmp_path / "banks.txt").write_text("more.test\n")
    rule = """{name: all, action: splice, mode: monitor, share: 12.5%, tenants: [blue], users: [alice], groups: [people],
            networks: [10.0.0.0/8], hosts: [.a.test], host_lists: [banks], destinations: [192.0.2.0/24], ports: [443],
            sni: present, ja3: [JA3], ja4: [t13*], times: [{days: [mon], hours: ["08:00-09:00"], zone: Europe/Berlin}],
            certificate: {issuer: [x], issuer_regex: ["^a"], subject: [y], keys: [rsa], verdicts: [ok], self_signed: false,
            asks_client_certificate: true}, reason: why, page: false}"""
    loaded = parse(with_rules(rule.replace("JA3", "0f" * 16), lists=LISTS), file="x.yaml", base=tmp_path)
    interception = loaded.config.auditor[0].tls_interception
    assert interception is not None
    assert interception.rules[0].share == 0.125
    assert loaded.config.host_list[0].entries == (".bank.test", "more.test")
    assert not [warning for warning in loaded.warnings if "rules" in warning.path]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{name: r, action: splice, tenants: [nobody]}", "rules[r].tenants[0]: no tenant is named 'nobody'"),
        ("{name: r, action: splice, groups: [peopel]}", "rules[r].groups[0]: no user group is named 'peopel'; did you mean"),
        ("{name: r, action: splice, host_lists: [x]}", "rules[r].host_lists[0]: no host list is named 'x'; defined: none"),
        ("{name: r, action: splice, share: 25}", "rules[r].share: not a share: 25 (write 25%"),
        ("{name: r, action: splice, share: 101%}", "rules[r].share: not a share: '101%'"),
        ("{name: r, action: splice, certificate: {}}", "rules[r].certificate: no condition is given"),
        ("{name: r, action: splice, ja3: [x]}", "rules[r].ja3[0]:"),
        ("{name: r, action: splice, times: [{hours: [9-17]}]}", "times[0].hours[0]: not hours: '9-17'"),
        ("{name: r, action: splice, certificate: {verdicts: [expired]}}", "verdicts[0]: not a verdict on a server: 'expired'"),
    ],
)
def test_c1_mistakes_are_told_with_line_and_path(rule: str, message: str) -> None:
    found = problems(with_rules(rule))
    assert len(found) == 1
    assert found[0].startswith("x.yaml:")
    assert message in found[0]


def test_c15_bad_lines_of_a_list_are_named_in_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "banks.txt").write_text("good.test\nhttp://bad.test/\n# fine\nb a d\n")
    text = with_rules("{name: r, action: splice, host_lists: [banks]}", lists=LISTS)
    file = tmp_path / "banks.txt"
    assert problems(text, tmp_path) == [
        f"{file}:2: host_list[banks].file: not a host name, .suffix or IP address: 'http://bad.test/'",
        f"{file}:4: host_list[banks].file: more than one entry: 'b a d'",
    ]


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read: No such file"), (b"a.test\n\xff\n", "is not UTF-8 text")]
)
def test_c15_a_list_that_cannot_be_read(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "banks.txt").write_bytes(content)
    (found,) = problems(with_rules("{name: r, action: splice}", lists=LISTS), tmp_path)
    assert message in found


def test_c15_a_changed_file_is_a_change_of_the_configuration(tmp_path: Path) -> None:
    text = with_rules("{name: r, action: splice, host_lists: [banks]}", lists=LISTS)
    (tmp_path / "banks.txt").write_text("a.test\n")
    old = parse(text, file="x.yaml", base=tmp_path).config
    same = parse(text, file="x.yaml", base=tmp_path).config
    (tmp_path / "banks.txt").write_text("a.test\nb.test\n")
    new = parse(text, file="x.yaml", base=tmp_path).config
    assert compare(old, same).changes == ()
    assert [str(change) for change in compare(old, new).changes] == ["changed host_list banks"]


WARNS = "can never match: rule 'a' at line"


@pytest.mark.parametrize(
    ("first", "later", "warned"),
    [
        ("", "hosts: [x.test]", True),
        ("hosts: [.test]", "hosts: [x.test, .y.test]", True),
        ("hosts: [x.test]", "hosts: [.x.test]", False),
        ("hosts: [.x.test]", "hosts: [.x.test], ports: [443]", True),
        ("hosts: [x.test]", "", False),
        ("hosts: [x.test]", "hosts: [x.test, y.test]", False),
        ("ports: [443, 8443]", "ports: [8443]", True),
        ("ports: [443]", "ports: [443, 8443]", False),
        ("users: [alice]", "users: [alice], ports: [443]", True),
        ("users: [alice]", "groups: [people]", False),
        ("tenants: [blue]", "hosts: [x.test]", False),
        ("networks: [10.0.0.0/8]", "networks: [10.1.0.0/16]", True),
        ("networks: [10.1.0.0/16]", "networks: [10.0.0.0/8]", False),
        ("networks: [10.0.0.0/8]", 'networks: ["2001:db8::/32"]', False),
        ("sni: absent", "sni: absent, ports: [443]", True),
        ("sni: absent", "sni: present", False),
        ("ja4: [t13*]", "ja4: [t13d*, t13x]", True),
        ("ja4: [t13d]", "ja4: [t13d*]", False),
        ("times: [{days: [mon]}]", "times: [{days: [mon]}], ports: [443]", True),
        ("times: [{days: [mon]}]", "times: [{days: [mon]}, {days: [tue]}]", False),
        ("certificate: {keys: [rsa]}", "certificate: {keys: [rsa]}, ports: [443]", True),
        ("certificate: {keys: [rsa]}", "ports: [443]", False),
        ("certificate: {keys: [rsa]}, action: splice", "certificate: {keys: [rsa]}, action: block", False),
        ("destinations: [10.0.0.0/8], action: block", "destinations: [10.1.0.0/16], action: splice", True),
        ("destinations: [10.0.0.0/8], action: splice", "destinations: [10.1.0.0/16], action: block", False),
        ("mode: monitor", "ports: [443]", False),
        ("share: 99%", "ports: [443]", False),
        ("", "mode: monitor", True),
    ],
)
def test_c1_a_rule_that_can_never_match_is_a_warning(first: str, later: str, warned: bool) -> None:
    rules = [_named("a", first), _named("b", later)]
    warnings = [str(warning) for warning in loads(with_rules(*rules)).warnings]
    assert [warning for warning in warnings if WARNS in warning] == [warning for warning in warnings if ".rules[" in warning]
    assert any(WARNS in warning for warning in warnings) is warned


def _named(name: str, conditions: str) -> str:
    action = "" if "action:" in conditions else ", action: splice"
    return f"{{name: {name}{action}{', ' + conditions if conditions else ''}}}"


def test_c1_lists_cover_hosts_and_each_other(tmp_path: Path) -> None:
    (tmp_path / "banks.txt").write_text(".more.test\n")

    def warned(first: str, later: str) -> bool:
        text = with_rules(_named("a", first), _named("b", later), lists=LISTS)
        return any(WARNS in str(warning) for warning in parse(text, file="x.yaml", base=tmp_path).warnings)

    assert warned("host_lists: [banks]", "hosts: [x.more.test]")
    assert warned("host_lists: [banks]", "host_lists: [banks], ports: [443]")
    assert warned("hosts: [.test]", "host_lists: [banks]")
    assert not warned("host_lists: [banks]", "hosts: [x.other.test]")
    assert not warned("hosts: [.bank.test]", "host_lists: [banks]")
