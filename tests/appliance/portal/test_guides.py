"""TLS-16: what is told to people. That the lines work is shown by running them: tests/e2e/test_portal_commands.py."""

import shlex

import pytest

from appliance.domain.target import Target
from appliance.portal.guides import Guide, guides, platform_of
from appliance.portal.source import Source, source_of
from appliance.portal.visit import Via, Visit

WANTED = {"windows", "macos", "ios", "android", "linux", "firefox", "java", "node", "python", "git", "curl"}


def at(via: Via) -> Source:
    visit = Visit("GET", "/", None, via=via, listener=Target("2001:db8::1", 3128))
    return source_of(visit, "arcus.internal", "socks5" if via is Via.SOCKS else "http", "arcus-ca")


def test_tls_16_every_platform_has_a_guide() -> None:
    known = {guide.key: guide for guide in guides(at(Via.PROXY))}
    assert set(known) == WANTED
    assert all(guide.steps or guide.commands for guide in known.values())
    assert any("Group Policy" in note for note in known["windows"].notes)
    assert any("apps" in note and "Android 7" in note for note in known["android"].notes)


@pytest.mark.parametrize("via", list(Via))
def test_tls_16_every_line_is_one_line_that_a_shell_reads(via: Via) -> None:
    for command in _commands(guides(at(via))):
        assert "\n" not in command
        assert shlex.split(command)


@pytest.mark.parametrize(
    ("via", "fetch"),
    [
        (Via.PROXY, "curl -fsS http://[2001:db8::1]:3128/arcus-ca.pem"),
        (Via.DIRECT, "curl -fsS http://[2001:db8::1]:3128/arcus-ca.pem"),
        (Via.SOCKS, "curl -fsS -x socks5h://[2001:db8::1]:3128 http://arcus.internal/arcus-ca.pem"),
        (Via.TRANSPARENT, "curl -fsS http://arcus.internal/arcus-ca.pem"),
    ],
)
def test_tls_16_the_file_is_fetched_on_a_way_that_works(via: Via, fetch: str) -> None:
    assert at(via).fetch("pem", "x") == f'{fetch} -o "x"'


def test_tls_16_a_file_that_was_saved_needs_no_address() -> None:
    assert Source("arcus-ca").fetch("pem", "x") == 'cp arcus-ca.pem "x"'
    assert not any("http" in command for command in _commands(guides(Source("arcus-ca"))) if "git" not in command)


def test_tls_16_a_platform_that_is_not_known_is_none() -> None:
    assert platform_of("curl/8.0") == platform_of("") == ""


def _commands(known: tuple[Guide, ...]) -> list[str]:
    return [command.text for guide in known for command in guide.commands if command.shell == "sh"]
