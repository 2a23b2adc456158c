"""Who signs CRLs, when, and what is told when that fails; C12."""

import asyncio
from pathlib import Path

import pytest

from appliance.app.publishing import LOOK_AGAIN, Publisher, portal_route, publication_of
from appliance.config.ca import Ca
from appliance.domain.clock import ManualClock
from appliance.files import locked
from appliance.portal.visit import Visit
from appliance.telemetry.health import HealthWriter, State
from certs import revoked
from certs.authority import Authority
from certs.publication import identity
from certs.revocation_answers import RevocationAnswers
from certs.revocation_folder import RevocationFolder
from certs.revoked import Revoked
from tests.certs import forge_origin as forge
from tests.certs.forge_origin import CA, NOW

DAY = 86_400


@pytest.fixture
def authority() -> Authority:
    pair = forge.issue(CA, None)
    return Authority("main", pair.certificate, (), pair.key)


def state(health: HealthWriter) -> tuple[State, str]:
    item = health._components["revocation main"]
    return item.state, item.detail


async def beats(publisher: Publisher, health: HealthWriter) -> None:
    """Until a look that began now has been told."""
    await looked(publisher)
    publisher.sample(health)
    await looked(publisher)
    publisher.sample(health)
    await looked(publisher)


async def looked(publisher: Publisher) -> None:
    if publisher._work is not None:
        await asyncio.wait([publisher._work])


async def test_what_is_published_is_kept_up_to_date_and_left_alone_between(authority: Authority, tmp_path: Path) -> None:
    clock, health = ManualClock(NOW.timestamp()), HealthWriter(tmp_path, "signer")
    publisher = Publisher(tmp_path / "pki", [authority], clock)
    folder = RevocationFolder.of(tmp_path / "pki", authority.fingerprint)
    await beats(publisher, health)
    first = folder.stamp()
    clock.advance(LOOK_AGAIN)
    await beats(publisher, health)
    assert folder.stamp() == first
    revoked.add(folder.revoked, Revoked(5, int(clock.now())))
    await beats(publisher, health)
    second = folder.stamp()
    assert second[1] > first[1]
    clock.advance(DAY)
    await beats(publisher, health)
    assert folder.stamp()[1] > second[1]
    assert state(health) == (State.OK, "")


async def test_a_list_that_cannot_be_read_is_told_and_tried_again(authority: Authority, tmp_path: Path) -> None:
    clock, health = ManualClock(NOW.timestamp()), HealthWriter(tmp_path, "signer")
    publisher = Publisher(tmp_path / "pki", [authority], clock)
    folder = RevocationFolder.of(tmp_path / "pki", authority.fingerprint)
    folder.home.mkdir(parents=True)
    folder.revoked.write_text("nonsense")
    await beats(publisher, health)
    assert state(health)[0] is State.DEGRADED
    assert str(folder.revoked) in state(health)[1]
    folder.revoked.unlink()
    await beats(publisher, health)
    assert state(health)[0] is State.OK


async def test_whoever_has_the_folder_does_not_stop_the_loop(authority: Authority, tmp_path: Path) -> None:
    """A worker's or the signer's loop is everybody's: leaves are signed on while `arcus ca revoke` has the folder."""
    clock, health = ManualClock(NOW.timestamp()), HealthWriter(tmp_path, "signer")
    publisher = Publisher(tmp_path / "pki", [authority], clock)
    folder = RevocationFolder.of(tmp_path / "pki", authority.fingerprint)
    folder.home.mkdir(parents=True)
    with locked(folder.home / ".lock"):
        publisher.sample(health)
        await asyncio.sleep(0.05)
        publisher.sample(health)
        assert not folder.crl.exists()
    await beats(publisher, health)
    assert folder.crl.exists()
    assert state(health) == (State.OK, "")


async def test_what_nobody_expected_reaches_the_heartbeat_and_is_tried_again(tmp_path: Path) -> None:
    publisher, health = Publisher(tmp_path, [None], ManualClock()), HealthWriter(tmp_path, "signer")  # type: ignore[list-item]
    for _ in range(2):
        with pytest.raises(AttributeError):
            await beats(publisher, health)


def test_the_portal_answers_the_same_and_survives_a_broken_list(authority: Authority, tmp_path: Path) -> None:
    clock = ManualClock(NOW.timestamp())
    Publisher(tmp_path, [authority], clock).look()
    route = portal_route(RevocationAnswers(tmp_path, clock))
    path = f"/pki/{identity(authority.fingerprint)}/ca.crl"
    answer = route.handler(Visit("GET", path, None))
    assert (answer.status, dict(answer.headers)["Content-Type"]) == (200, "application/pkix-crl")
    RevocationFolder.of(tmp_path, authority.fingerprint).revoked.write_text("nonsense")
    assert route.handler(Visit("GET", path, None)).status == 503


def test_leaves_name_addresses_only_where_the_configuration_does(authority: Authority) -> None:
    assert publication_of(Ca(name="main"), authority) is None
    where = publication_of(Ca(name="main", revocation_url="http://arcus.internal"), authority)
    assert where is not None
    assert where.crl == f"http://arcus.internal/pki/{identity(authority.fingerprint)}/ca.crl"


@pytest.mark.parametrize(
    "url", ["https://a.test", "ftp://a.test", "http://a.test/?x", "http://a.test/#x", "http://" + "a" * 200, "x"]
)
def test_an_address_that_clients_could_not_use_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        Ca(name="main", revocation_url=url)
