"""C2: the matrix of faults and actions."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.upstream_certificates import Cause, UpstreamCertificates
from appliance.domain.reason import Reason
from appliance.policy.upstream_certificates import CertAction, CertificateMatrix, Choice, reason_of_cause, strictest

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC).timestamp()
CAUSES = get_args(Cause.__value__)


def matrix(**config: Any) -> CertificateMatrix:
    return CertificateMatrix(UpstreamCertificates(**config))


def exception(**fields: Any) -> dict[str, Any]:
    return {"name": "old", "hosts": ["printer.test"], "action": "allow"} | fields


@pytest.mark.parametrize("cause", CAUSES)
def test_c2_everything_is_blocked_by_default(cause: str) -> None:
    assert matrix().decide(reason_of_cause(cause), "a.test", NOON) == Choice(CertAction.BLOCK)


def test_every_word_but_our_own_ca_can_be_configured() -> None:
    words = {reason.word for reason in Reason if reason.word.startswith("upstream_cert_")}
    assert {f"upstream_cert_{cause}" for cause in CAUSES} == words - {"upstream_cert_own_ca"}


@pytest.mark.security
@pytest.mark.parametrize(
    "reason", [Reason.UPSTREAM_CERT_OWN_CA, Reason.UPSTREAM_TLS_VERSION, Reason.CONNECT_REFUSED, Reason.OK]
)
def test_c2_what_is_no_fault_of_a_certificate_is_never_let_pass(reason: Reason) -> None:
    assert matrix(default="allow").decide(reason, "a.test", NOON).action is CertAction.BLOCK


def test_c2_a_cause_goes_before_the_default_and_an_exception_before_both() -> None:
    found = matrix(
        default="warn",
        causes={"expired": "untrusted_ca"},
        exceptions=[exception(causes=["expired"]), exception(name="late", action="splice")],
    )
    for reason, host, want in (
        (Reason.UPSTREAM_CERT_EXPIRED, "printer.test", Choice(CertAction.ALLOW, "old")),
        (Reason.UPSTREAM_CERT_WRONG_HOST, "printer.test", Choice(CertAction.SPLICE, "late")),
        (Reason.UPSTREAM_CERT_EXPIRED, "x.printer.test", Choice(CertAction.UNTRUSTED_CA, "causes.expired")),
        (Reason.UPSTREAM_CERT_WRONG_HOST, "other.test", Choice(CertAction.WARN, "default")),
    ):
        assert found.decide(reason, host, NOON) == want


def test_c2_an_exception_holds_to_the_end_of_its_day() -> None:
    found = matrix(exceptions=[exception(until="2026-03-31")])
    midnight = datetime(2026, 4, 1, tzinfo=UTC)
    for moment, want in ((midnight - timedelta(seconds=1), CertAction.ALLOW), (midnight, CertAction.BLOCK)):
        assert found.decide(Reason.UPSTREAM_CERT_EXPIRED, "printer.test", moment.timestamp()).action is want


@given(st.lists(st.sampled_from(list(CertAction)), min_size=1))
def test_the_strictest_action_counts(actions: list[CertAction]) -> None:
    order = [CertAction.BLOCK, CertAction.SPLICE, CertAction.WARN, CertAction.UNTRUSTED_CA, CertAction.ALLOW]
    found = strictest([Choice(action) for action in actions]).action
    assert found is next(action for action in order if action in actions)


def test_an_action_is_used_wherever_it_stands() -> None:
    for config in ({"default": "warn"}, {"causes": {"expired": "warn"}}, {"exceptions": [exception(action="warn")]}):
        assert matrix(**config).uses(CertAction.WARN)
    assert not matrix().uses(CertAction.WARN)
