"""Which kinds of key a client takes, from what its ClientHello offers."""

import pytest

from appliance.domain.facts import HelloFacts

TLS12, TLS13 = (0x0303,), (0x0304, 0x0303)
ECDSA, ECDSA_SHA384, RSA_PSS, RSA_PKCS1 = 0x0403, 0x0503, 0x0804, 0x0401
X25519, P256 = 0x001D, 0x0017


@pytest.mark.parametrize(
    ("hello", "ecdsa", "rsa"),
    [
        (HelloFacts(), True, True),
        (HelloFacts(versions=TLS13, signature_algorithms=(ECDSA, RSA_PSS)), True, True),
        (HelloFacts(versions=TLS13, signature_algorithms=(ECDSA,)), True, False),
        (HelloFacts(versions=TLS13, signature_algorithms=(RSA_PSS,)), False, True),
        (HelloFacts(versions=TLS13, signature_algorithms=(RSA_PKCS1,)), False, False),
        (HelloFacts(versions=TLS12, ciphers=(0xC02F,), signature_algorithms=(ECDSA, RSA_PSS)), False, True),
        (HelloFacts(versions=TLS12, ciphers=(0xC02B,), signature_algorithms=(ECDSA, RSA_PSS)), True, False),
        (HelloFacts(versions=TLS12, signature_algorithms=(ECDSA, RSA_PSS), groups=(X25519, P256)), True, True),
        (HelloFacts(versions=TLS12, signature_algorithms=(ECDSA, RSA_PSS), groups=(X25519,)), False, True),
        (HelloFacts(versions=TLS13, signature_algorithms=(ECDSA, RSA_PSS), groups=(X25519,)), True, True),
        (HelloFacts(versions=TLS12, signature_algorithms=(ECDSA_SHA384,)), True, False),
        (HelloFacts(versions=TLS13, signature_algorithms=(ECDSA_SHA384,)), False, False),
        (HelloFacts(versions=TLS13, ciphers=(0x1301,), signature_algorithms=(ECDSA, RSA_PSS)), True, True),
    ],
)
def test_tls_03_the_kinds_of_key_that_a_client_accepts(hello: HelloFacts, ecdsa: bool, rsa: bool) -> None:
    assert (hello.accepts_ecdsa, hello.accepts_rsa) == (ecdsa, rsa)
