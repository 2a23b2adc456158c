"""``ca[].pkcs11``: what goes together, and what is told with file and line."""

from pathlib import Path

import pytest

from appliance.domain.errors import ConfigError
from tests.appliance.config.base import changed, loads


def ca(directory: Path, *lines: str, **fields: str) -> str:
    pin = directory / "pin"
    pin.touch(0o600)
    pin.write_text("1234")
    node = {"module": "/bin/sh", "token": "arcus", "label": "ca", "pin_file": str(pin)} | fields
    text = ", ".join(f'{name}: "{value}"' for name, value in node.items())
    return changed(
        ("  - name: main", "\n".join(["  - name: main", f"    pkcs11: {{{text}}}", *(f"    {line}" for line in lines)]))
    )


def test_a_token(tmp_path: Path) -> None:
    node = loads(ca(tmp_path)).config.ca[0].pkcs11
    assert node is not None
    assert (node.token, node.label, node.environment) == ("arcus", "ca", {})


@pytest.mark.parametrize(
    ("lines", "fields", "message"),
    [
        (["private_key: k.pem"], {}, "ca[main].private_key: the key is in the token"),
        (["signer: in_process"], {}, "only the signer process opens a token"),
        (["certificate: none.pem"], {}, "none.pem: cannot be read"),
        ([], {"module": "/none.so"}, "ca[main].pkcs11.module: /none.so: cannot be read"),
        ([], {"pin_file": "/none"}, "ca[main].pkcs11.pin_file: /none: cannot be read"),
        ([], {"token": ""}, "ca[main].pkcs11.token"),
        ([], {"pin": "1234"}, "pin"),
    ],
)
def test_what_is_wrong_is_told(lines: list[str], fields: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        loads(ca(tmp_path, *lines, **fields))
    assert message in str(error.value)
    assert len(error.value.problems) == 1


@pytest.mark.security
def test_a_pin_that_others_can_read_is_refused(tmp_path: Path) -> None:
    text = ca(tmp_path)
    (tmp_path / "pin").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        loads(text)
