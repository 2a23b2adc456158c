"""Which process holds which key."""

from pathlib import Path

import pytest

from appliance.app.keys import Signers, needs_signer, public_authorities, seats
from appliance.app.parts import authorities
from appliance.config.root import AppConfig
from appliance.domain.clock import SystemClock
from appliance.telemetry.metrics import Metrics
from certs.mint import Mint
from certs.signing.client import SignerClient
from tests.appliance.config.base import BASE, loads


def config(tmp_path: Path, *signers: str) -> AppConfig:
    loaded = loads(BASE).config
    first = loaded.ca[0]
    cas = [first.model_copy(update={"name": f"ca-{number}", "signer": signer}) for number, signer in enumerate(signers)]
    return loaded.model_copy(update={"ca": cas, "state_dir": tmp_path})


def test_tls_08_the_signer_is_the_default() -> None:
    loaded = loads(BASE).config
    assert {ca.signer for ca in loaded.ca} == {"process"}
    assert needs_signer(loaded)


@pytest.mark.security
async def test_tls_08_a_worker_opens_no_key_that_the_signer_holds(tmp_path: Path) -> None:
    mixed = config(tmp_path, "process", "in_process")
    made = authorities(mixed)
    (tmp_path / "ca" / "ca-0" / "ca.key").unlink()
    assert public_authorities(mixed) == {name: authority.public for name, authority in made.items()}
    signers = Signers(mixed, Metrics(), SystemClock())
    assert {name: type(signer) for name, signer in signers.by_ca.items()} == {"ca-0": SignerClient, "ca-1": Mint}
    assert [seat.authority.name for seat in seats(mixed, "in_process")] == ["ca-1"]
    await signers.close()


async def test_without_a_signer_there_is_no_client(tmp_path: Path) -> None:
    alone = config(tmp_path, "in_process")
    authorities(alone)
    assert not needs_signer(alone)
    signers = Signers(alone, Metrics(), SystemClock())
    signers.start()
    assert {type(signer) for signer in signers.by_ca.values()} == {Mint}
    await signers.close()
