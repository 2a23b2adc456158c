"""Who is ready for the next CA; D8."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.readiness import FRESH, Encounter, readiness

NOW = 1_800_000_000.0
OLD, NEW = "a" * 64, "b" * 64


def met(ip: str, ca: str, accepted: float = 0.0, refused: float = 0.0, tenant: str = "t") -> Encounter:
    return Encounter(tenant, ip, ca, NOW - accepted if accepted else 0.0, NOW - refused if refused else 0.0)


def states(*encounters: Encounter) -> dict[str, str]:
    return {client.ip: client.state for client in readiness(encounters, OLD, NEW, NOW).clients}


def test_a_client_is_ready_when_it_has_accepted_the_next_ca_and_not_refused_it_since() -> None:
    assert states(met("1", OLD, accepted=5), met("1", NEW, accepted=9)) == {"1": "ready"}
    assert states(met("1", NEW, accepted=9, refused=5)) == {"1": "refused"}
    assert states(met("1", NEW, accepted=5, refused=9)) == {"1": "ready"}
    assert states(met("1", OLD, accepted=5)) == {"1": "unseen"}
    assert states(met("1", NEW, refused=5)) == {"1": "refused"}


def test_who_has_not_come_for_two_weeks_is_not_waited_for() -> None:
    assert states(met("1", OLD, accepted=FRESH), met("2", OLD, accepted=FRESH - 1)) == {"2": "unseen"}


def test_other_cas_do_not_count_and_tenants_are_told_apart() -> None:
    found = readiness(
        [met("1", "c" * 64, accepted=1), met("1", NEW, accepted=1), met("1", OLD, accepted=1, tenant="u")], OLD, NEW, NOW
    )
    assert [(client.tenant, client.state) for client in found.clients] == [("u", "unseen"), ("t", "ready")]
    assert (found.ready, len(found.missing)) == (1, 1)


@given(
    st.lists(
        st.builds(met, st.sampled_from("12345"), st.sampled_from([OLD, NEW]), st.integers(0, 9), st.integers(0, 9)), max_size=20
    )
)
def test_every_client_is_counted_once(encounters: list[Encounter]) -> None:
    found = readiness(encounters, OLD, NEW, NOW)
    assert found.ready + len(found.missing) == len(found.clients) == len({client.ip for client in found.clients})
