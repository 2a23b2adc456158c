"""C17: which client certificate goes to which server, on whose behalf."""

from typing import Any

import pytest

from appliance.config.client_certificates import ClientCertificate
from appliance.domain.facts import UserFacts
from appliance.policy.client_certificates import ClientCertificates

ALICE, BOB = UserFacts("alice", "staff"), UserFacts("bob", "guests")


def node(name: str = "one", **changes: Any) -> ClientCertificate:
    values = {"name": name, "hosts": ["mtls.test"], "certificate": "/c.pem", "private_key": "/k.pem"} | changes
    return ClientCertificate.model_validate(values)


@pytest.mark.security
@pytest.mark.parametrize(
    ("changes", "host", "user", "found"),
    [
        ({}, "mtls.test", None, "one"),
        ({}, "www.mtls.test", None, None),
        ({}, "mtls.test.evil.test", None, None),
        ({"hosts": [".mtls.test"]}, "www.mtls.test", None, "one"),
        ({"hosts": [".mtls.test"]}, "notmtls.test", None, None),
        ({"users": ["alice"]}, "mtls.test", ALICE, "one"),
        ({"users": ["alice"]}, "mtls.test", BOB, None),
        ({"users": ["alice"]}, "mtls.test", None, None),
        ({"groups": ["staff"]}, "mtls.test", ALICE, "one"),
        ({"groups": ["staff"]}, "mtls.test", BOB, None),
        ({"groups": ["staff"]}, "mtls.test", None, None),
        ({"groups": ["staff"], "users": ["bob"]}, "mtls.test", ALICE, None),
        ({"tenants": ["a"]}, "mtls.test", None, "one"),
        ({"tenants": ["b"]}, "mtls.test", None, None),
    ],
)
def test_c17_every_condition_must_hold(changes: dict[str, Any], host: str, user: UserFacts | None, found: str | None) -> None:
    assert ClientCertificates("a", [node(**changes)]).find(host, user) == found


def test_c17_the_first_that_fits_is_used() -> None:
    nodes = [node("alice", users=["alice"]), node("rest")]
    assert ClientCertificates("a", nodes).find("mtls.test", ALICE) == "alice"
    assert ClientCertificates("a", nodes).find("mtls.test", BOB) == "rest"
