import asyncio
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.control import token
from appliance.control.failures import FailureLimit, network_of
from appliance.domain.clock import ManualClock
from appliance.domain.errors import ConfigError

pytestmark = pytest.mark.security


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "admin-token"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_ensure_returns_the_token_once_and_keeps_its_hash_alone(path: Path) -> None:
    made = token.ensure(path)
    assert made is not None
    assert len(made) >= 43
    assert token.ensure(path) is None
    assert path.read_text().startswith("$argon2id$")
    assert made not in path.read_text()
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert os.listdir(path.parent) == [path.name], "no temporary file stays"


def test_ensure_makes_another_token_each_time(tmp_path: Path) -> None:
    made = {token.ensure(tmp_path / str(number)) for number in range(3)}
    assert len(made) == 3


def test_ensure_tightens_the_mode_of_a_file_that_others_can_read(path: Path) -> None:
    token.ensure(path)
    path.chmod(0o644)
    assert token.ensure(path) is None
    assert mode(path) == 0o600


def test_ensure_only_one_of_many_at_once_has_the_token(path: Path) -> None:
    barrier = threading.Barrier(4)

    def start(_: int) -> str | None:
        barrier.wait()
        return token.ensure(path)

    with ThreadPoolExecutor(4) as pool:
        results = [made for made in pool.map(start, range(4)) if made]
    assert len(results) == 1
    verifier = token.Verifier(path)
    assert asyncio.run(verifier.verify(results[0]))
    verifier.close()


@pytest.mark.parametrize("content", ["", "secret", "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g", "\x00" * 5000])
def test_a_file_without_a_hash_is_refused_with_what_to_do(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    for use in (token.ensure, token.Verifier):
        with pytest.raises(ConfigError, match=r"admin-token.*delete it"):
            use(path)
    assert path.read_text() == content


def test_ensure_names_the_file_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/admin-token.*cannot be used"):
        token.ensure(tmp_path / "file" / "admin-token")


class Made:
    def __init__(self, path: Path) -> None:
        self.token = token.ensure(path) or ""
        self.clock = ManualClock()
        self.verifier = token.Verifier(path, self.clock)


@pytest.fixture
def made(path: Path) -> Made:
    return Made(path)


@pytest.mark.parametrize("wrong", ["", "x", "\ud800", "ü", "x" * 257, "x" * 1_000_000])
async def test_verify_refuses_what_is_not_the_token(made: Made, wrong: str) -> None:
    assert not await made.verifier.verify(wrong)
    assert not await made.verifier.verify(made.token + wrong if wrong else made.token[:-1])
    assert await made.verifier.verify(made.token)


async def test_verify_remembers_a_right_token_for_its_time(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def matches(_: str, text: str) -> bool:
        asked.append(text)
        return text == made.token

    monkeypatch.setattr(token, "_matches", matches)
    for _ in range(3):
        assert await made.verifier.verify(made.token)
    assert len(asked) == 1
    made.clock.advance(token.CACHE_SECONDS)
    assert await made.verifier.verify(made.token)
    assert len(asked) == 2
    for _ in range(2):
        assert not await made.verifier.verify("wrong")
    assert len(asked) == 4, "a wrong one is checked each time"


async def test_verify_does_not_hold_the_loop(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, release = threading.Event(), threading.Event()

    def slow(*_: str) -> bool:
        entered.set()
        return release.wait(30)

    monkeypatch.setattr(token, "_matches", slow)
    checking = asyncio.create_task(made.verifier.verify("any"))
    await asyncio.to_thread(entered.wait, 30)
    assert not checking.done(), "we are here while it is checked"
    release.set()
    assert await checking


async def test_attempts_all_at_once_are_counted_before_they_are_checked(made: Made) -> None:
    results = await asyncio.gather(*(made.verifier.attempt(f"guess{n}", "192.0.2.1") for n in range(30)))
    assert sum(1 for each in results if not each.retry_after) <= 10
    assert not any(each.ok for each in results)


async def test_attempts_that_are_right_are_no_failures(made: Made) -> None:
    for _ in range(9):
        await made.verifier.attempt("guess", "192.0.2.1")
    for _ in range(3):
        made.clock.advance(0)
        assert (await made.verifier.attempt(made.token, "192.0.2.1")).ok
    assert (await made.verifier.attempt("guess", "192.0.2.1")).retry_after == 0
    assert (await made.verifier.attempt("guess", "192.0.2.1")).retry_after == 60


def test_failures_slide_out_of_the_window() -> None:
    clock = ManualClock()
    limit = FailureLimit(clock, limit=2, window=60)
    limit.failed("a")
    clock.advance(40)
    limit.failed("a")
    assert limit.wait("a") == 20
    assert limit.wait("b") == 0
    clock.advance(20)
    assert limit.wait("a") == 0
    limit.failed("a")
    assert limit.wait("a") == 40


def test_failures_are_bounded_and_the_address_quiet_for_longest_is_forgotten() -> None:
    limit = FailureLimit(ManualClock(), limit=1, capacity=2)
    for address in ("a", "b", "a", "c"):
        limit.failed(address)
    assert [bool(limit.wait(address)) for address in ("a", "b", "c")] == [True, False, True]


def test_one_ipv6_network_counts_as_one_client() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1")
    assert network_of("192.0.2.1") != network_of("192.0.2.2")
    assert network_of("not an address") == "not an address"
