"""The node ``redis``: what it takes, and what it refuses with file and line."""

from pathlib import Path

import pytest

from appliance.config.redis import Redis
from appliance.domain.errors import ConfigError
from appliance.domain.target import Target
from tests.appliance.config.base import BASE, loads


def node(text: str) -> Redis:
    redis = loads(f"{BASE}redis: {text}\n").config.redis
    assert redis is not None
    return redis


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        loads(f"{BASE}redis: {text}\n")
    assert {problem.line for problem in error.value.problems} == {len(BASE.splitlines()) + 1}
    return str(error.value)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://127.0.0.1", Target("127.0.0.1", 6379)),
        ("redis://cache.test:7000/3", Target("cache.test", 7000)),
        ("rediss://[2001:db8::1]:6380/0", Target("2001:db8::1", 6380)),
        ("unix:///run/redis/redis.sock", None),
    ],
)
def test_urls(url: str, address: Target | None) -> None:
    assert node(f'{{url: "{url}"}}').address == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{url: "http://x"}', "not a Redis URL"),
        ('{url: "redis://x?db=1"}', "not a Redis URL"),
        ('{url: "redis://x/0/../1"}', "not a Redis URL"),
        ('{url: "unix://relative"}', "not a Redis URL"),
        ('{url: "redis://:secret@x"}', "credentials do not belong in the URL"),
        ('{url: "redis://x", timeout: 0}', "redis.timeout"),
        ('{url: "redis://x", password: s}', "password"),
        ('{url: "redis://x", password_file: /none/x}', "cannot be read"),
        ('{url: "rediss://x", ca_file: /none/x}', "cannot be read"),
    ],
)
def test_what_is_wrong_is_told(text: str, message: str) -> None:
    assert message in refused(text)


@pytest.mark.security
def test_a_password_is_read_from_a_file_of_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.touch(0o600)
    text = f'{{url: "redis://127.0.0.1", password_file: "{file}"}}'
    assert "first line is empty" in refused(text)
    file.write_text("s3cret\nmore\n")
    assert node(text).password_file == file
    file.chmod(0o640)
    assert "chmod 600" in refused(text)
    assert "s3cret" not in refused(text)


def test_roots_are_for_tls(tmp_path: Path) -> None:
    file = tmp_path / "roots.pem"
    file.write_text("nothing")
    assert "holds no certificate" in refused(f'{{url: "rediss://x", ca_file: "{file}"}}')
    assert "only rediss:// is TLS" in refused(f'{{url: "redis://x", ca_file: "{file}"}}')


@pytest.mark.parametrize(("url", "count"), [("redis://10.0.0.1", 1), ("rediss://10.0.0.1", 0), ("redis://localhost", 0)])
def test_a_way_that_others_can_listen_on_is_a_warning(url: str, count: int) -> None:
    warnings = [str(warning) for warning in loads(f'{BASE}redis: {{url: "{url}"}}\n').warnings if "TLS" in str(warning)]
    assert len(warnings) == count
