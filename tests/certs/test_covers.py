"""C8: is a certificate for a host?"""

import ipaddress

import pytest
from cryptography import x509

from certs.covers import covers
from tests.certs.forge_origin import LEAF, issue

pytestmark = pytest.mark.unit

NAMES = (
    x509.DNSName("Exact.test"),
    x509.DNSName("*.wild.test"),
    x509.DNSName("*"),
    x509.DNSName("*.test"),
    x509.DNSName("part*.test"),
    x509.DNSName("192.0.2.9"),
    x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
    x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
)
CERTIFICATE = issue(LEAF.but(names=NAMES[:1] + NAMES[1:3] + NAMES[4:]), None).certificate


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("exact.test", True),
        ("a.wild.test", True),
        ("a.b.wild.test", False),
        ("wild.test", False),
        ("partial.test", False),
        ("other.test", False),
        ("localhost", False),
        ("192.0.2.1", True),
        ("192.0.2.9", False),
        ("2001:db8::1", True),
        ("2001:db8::2", False),
    ],
)
def test_c8_names_and_addresses(host: str, expected: bool) -> None:
    assert covers(CERTIFICATE, host) is expected


def test_c8_the_common_name_does_not_count() -> None:
    assert not covers(issue(LEAF.but(common_name="cn.test", names=None), None).certificate, "cn.test")
