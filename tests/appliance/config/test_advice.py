"""What is valid, but probably not meant, is told with its line."""

from tests.appliance.config.base import changed, loads

SPLICE = 'splice: [".bank.test"]'


def _warnings(inserted: str) -> list[str]:
    return [str(each) for each in loads(changed((SPLICE, inserted))).warnings if "is past" in str(each)]


def test_an_exclusion_that_has_ended_is_told() -> None:
    (warning,) = _warnings("exclusions: {hosts: [{host: a.test, reason: r, until: 2020-01-31}]}")
    where = "x.yaml:26: auditor[inspect].tls_interception.exclusions.hosts[0].until"
    assert warning.startswith(f"{where}: 2020-01-31 is past")


def test_a_certificate_exception_that_has_ended_is_told() -> None:
    entry = "{name: old, hosts: [a.test], action: warn, until: 2020-01-31}"
    (warning,) = _warnings(f"upstream_certificates: {{exceptions: [{entry}]}}")
    assert "exceptions[old].until: 2020-01-31 is past" in warning


def test_what_still_holds_is_not() -> None:
    assert _warnings("exclusions: {hosts: [{host: a.test, reason: r, until: 9999-12-31}, {host: b.test, reason: r}]}") == []
