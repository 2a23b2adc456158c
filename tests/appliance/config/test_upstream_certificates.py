"""C2, C19: what may be written about servers' certificates and TLS."""

from typing import Any

import pytest
from pydantic import ValidationError

from appliance.config.interception import TlsInterception
from appliance.config.upstream_certificates import UpstreamCertificates, spki_pin
from appliance.config.upstream_tls import UpstreamTls

HEX = "00" * 31 + "ff"


@pytest.mark.parametrize(
    "text", [HEX, HEX.upper(), ":".join(["00"] * 31 + ["FF"]), "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAP8="]
)
def test_a_pin_is_written_in_hex_or_base64(text: str) -> None:
    assert spki_pin(text) == HEX


@pytest.mark.parametrize("text", ["", "00" * 31, "sha256/AAAA", "zz" * 32, "sha256/!"])
def test_what_is_no_pin(text: str) -> None:
    with pytest.raises(ValueError, match="not a SHA-256 fingerprint"):
        spki_pin(text)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"default": "ignore"}, "block"),
        ({"causes": {"own_ca": "allow"}}, "expired"),
        ({"causes": {"expired": "maybe"}}, "allow"),
        ({"exceptions": [{"name": "a", "action": "allow"}]}, "hosts"),
        ({"exceptions": [{"name": "a", "hosts": [], "action": "allow"}]}, "at least 1"),
        ({"exceptions": [{"name": "a", "hosts": ["b"], "action": "allow", "until": "tomorrow"}]}, "date"),
        ({"warn": {"proceed": 59}}, "60"),
        ({"warn": {"link": "2h"}}, "3600"),
    ],
)
def test_what_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        UpstreamCertificates.model_validate(config)


@pytest.mark.security
@pytest.mark.parametrize("action", ["untrusted_ca", "splice"])
def test_c2_what_is_decided_before_the_leaf_needs_the_server_first(action: str) -> None:
    config = {"connection_strategy": "lazy", "upstream_certificates": {"causes": {"expired": action}}}
    with pytest.raises(ValidationError, match="needs connection_strategy eager"):
        TlsInterception.model_validate(config)
    assert TlsInterception.model_validate(config | {"connection_strategy": "eager"})


@pytest.mark.security
@pytest.mark.parametrize(
    "config", [{"min_version": "1.1"}, {"min_rsa_bits": 1024}, {"min_ec_bits": 192}, {"ciphers": ["A:B"]}, {"sha1": True}]
)
def test_c19_the_general_floor_cannot_be_lowered(config: dict[str, Any]) -> None:
    """Only single hosts may have less."""
    with pytest.raises(ValidationError):
        UpstreamTls.model_validate(config)
