"""C19: what a listener and an auditor demand of clients must leave something; settings for a missing server name."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from appliance.config.interception import TlsInterception
from appliance.config.load import parse
from appliance.domain.errors import ConfigError
from tests.appliance.config.base import BASE


def told(server: dict[str, object], auditor: dict[str, object], tmp_path: Path) -> list[str]:
    document = YAML(typ="safe").load(BASE)
    document["server"][0]["client_tls"] = server
    for each in document["auditor"]:
        if each.get("tls_interception") is not None or each["name"]:
            each["tls_interception"] = {"client_tls": auditor}
    file = tmp_path / "arcus.yaml"
    with file.open("w") as stream:
        YAML(typ="safe").dump(document, stream)
    try:
        parse(file.read_bytes(), file=str(file), base=tmp_path)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("groups", ["X25519"], ["P-384"]),
        ("signatures", ["ecdsa_secp256r1_sha256"], ["rsa_pss_rsae_sha256"]),
        ("ciphers", ["ECDHE-RSA-AES128-GCM-SHA256"], ["ECDHE-ECDSA-AES128-GCM-SHA256"]),
    ],
)
def test_c19_nothing_in_common_is_an_error_with_its_place(tmp_path: Path, key: str, one: list[str], other: list[str]) -> None:
    (problem, *_) = told({key: one}, {key: other}, tmp_path)
    assert f"client_tls.{key}" in problem
    assert "nothing in common" in problem
    assert told({key: [*one, *other]}, {key: other}, tmp_path) == []


@pytest.mark.parametrize("key", ["groups", "signatures", "ciphers"])
@pytest.mark.parametrize("value", [[], ["SECP192R1"], ["ecdsa_sha1"], ["AES128-SHA"], "X25519"])
def test_tls_13_nothing_weak_can_be_configured(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=key):
        TlsInterception.model_validate({"client_tls": {key: value}})


def test_c19_no_sni_has_a_short_form() -> None:
    short = TlsInterception.model_validate({"no_sni": "block"}).no_sni
    assert short == TlsInterception.model_validate({"no_sni": {"action": "block", "page": True}}).no_sni
    assert TlsInterception().no_sni is None
    for broken in ("drop", {"page": True}, {"action": "block", "more": 1}, 1):
        with pytest.raises(ValueError, match="no_sni"):
            TlsInterception.model_validate({"no_sni": broken})
