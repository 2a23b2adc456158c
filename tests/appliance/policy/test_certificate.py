"""Conditions on what a server shows, and what they say when it shows nothing."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from appliance.config.decrypt_rule import CertificateCondition
from appliance.domain.notes import CertNotes
from appliance.domain.reason import Reason
from appliance.domain.upstream import UpstreamFacts
from appliance.policy.certificate import CertificateConditions

pytestmark = pytest.mark.unit

SEEN = UpstreamFacts(
    certificate=CertNotes("ab", "CN=shop.test,O=Shop", "CN=R11,O=Let's Encrypt,C=US", "1", 0.0, 1.0),
    key_type="ec",
    key_bits=256,
    asks_client_certificate=False,
)
BAD = replace(SEEN, reason=Reason.UPSTREAM_CERT_EXPIRED, asks_client_certificate=None)
NOTHING = UpstreamFacts(Reason.CONNECT_REFUSED)


@pytest.mark.parametrize(
    ("given", "seen", "bad", "nothing"),
    [
        ({"issuer": ["let's encrypt"]}, True, True, None),
        ({"issuer": ["other", "O=LET'S"]}, True, True, None),
        ({"issuer": ["digicert"]}, False, False, None),
        ({"issuer_regex": [r"CN=R\d+,"]}, True, True, None),
        ({"issuer": ["digicert"], "issuer_regex": ["C=US$"]}, True, True, None),
        ({"subject": ["o=shop"]}, True, True, None),
        ({"subject_regex": ["^O="]}, False, False, None),
        ({"keys": ["rsa", "ec"]}, True, True, None),
        ({"keys": ["rsa"]}, False, False, None),
        ({"verdicts": ["ok"]}, True, False, None),
        ({"verdicts": ["upstream_cert_expired", "connect_refused"]}, False, True, True),
        ({"self_signed": True}, False, False, None),
        ({"self_signed": False}, True, True, None),
        ({"asks_client_certificate": True}, False, None, None),
        ({"asks_client_certificate": False}, True, None, None),
        ({"issuer": ["let's"], "asks_client_certificate": True}, False, None, None),
        ({"issuer": ["digicert"], "asks_client_certificate": True}, False, False, None),
        ({"issuer": ["let's"], "verdicts": ["ok"]}, True, False, None),
    ],
)  # fmt: skip
def test_c1_conditions_on_the_certificate(given: dict[str, Any], seen: bool, bad: bool | None, nothing: bool | None) -> None:
    conditions = CertificateConditions(CertificateCondition.model_validate(given))
    assert (conditions.hold(SEEN), conditions.hold(BAD), conditions.hold(NOTHING)) == (seen, bad, nothing)


@pytest.mark.parametrize(
    "given", [{}, {"verdicts": ["bad_request"]}, {"verdicts": ["expired"]}, {"keys": ["dh"]}, {"issuer_regex": ["("]}]
)
def test_conditions_that_say_nothing_or_nonsense_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CertificateCondition.model_validate(given)
