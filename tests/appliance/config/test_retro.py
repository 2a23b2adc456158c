"""The node ``retro``: what it refuses."""

from pathlib import Path

import pytest

from appliance.config.retro import Retro
from appliance.domain.errors import ConfigError
from tests.appliance.config.base import BASE, changed, loads


def retro(text: str, base: str = BASE) -> Retro:
    return loads(f"{base}retro: {text}\n").config.retro


def test_it_is_on_and_bounded_by_itself() -> None:
    found = loads(BASE).config.retro
    assert (found.enabled, found.hashes) == (True, [])
    assert (found.max_age, found.max_bodies, found.max_flows) == (90 * 86_400, 100_000, 500_000)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{max_bodies: 0}", "greater than or equal to 1"),
        ("{max_age: 59s}", "greater than or equal to 60"),
        ("{hashes: [/nowhere/x.txt]}", "/nowhere/x.txt: no such file"),
        ("{nonsense: 1}", "nonsense"),
        ("{samples: {tenants: [nobody]}}", "nobody"),
        ("{samples: {share: 0}}", "greater than 0"),
        ("{samples: {share: 1.1}}", "less than or equal to 1"),
        ("{samples: {max_size: 65M}}", "less than or equal to"),
        ("{samples: {types: [PDF]}}", "not a content type"),
        ("{rate: 0}", "greater than 0"),
    ],
)
def test_what_it_refuses(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        retro(text)
    assert told in str(error.value)


def test_lists_need_the_process_that_looks_at_them(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("")
    base = changed(('admin:\n  listen: {address: "127.0.0.1:9090"}\n', ""))
    assert retro(f"{{hashes: [{file}]}}").hashes == [file]
    with pytest.raises(ConfigError, match="configure admin"):
        retro(f"{{hashes: [{file}]}}", base)


def test_samples_need_the_process_that_judges_and_deletes_them() -> None:
    without = changed(('admin:\n  listen: {address: "127.0.0.1:9090"}\n', ""))
    assert retro("{samples: {tenants: [blue]}}").samples.max_size == 8 << 20
    with pytest.raises(ConfigError, match="configure admin"):
        retro("{samples: {tenants: [blue]}}", without)
