"""C17: a client certificate in the configuration: its files, its key's mode, the names it refers to."""

from pathlib import Path

import pytest
import trustme

from appliance.domain.errors import ConfigError
from tests.appliance.config.base import changed, loads


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    issued = trustme.CA().issue_cert("gateway@example.test")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "own.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "own.key"))
    (tmp_path / "own.key").chmod(0o600)
    return tmp_path


def entry(folder: Path, more: str = "") -> str:
    return f"{{name: gateway, hosts: [mtls.test], certificate: {folder}/own.pem, private_key: {folder}/own.key{more}}}"


def configuration(*entries: str) -> str:
    return changed(
        ('      splice: [".bank.test"]\n', f'      client_certificates: [{", ".join(entries)}]\n      splice: [".bank.test"]\n')
    )


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text)
    return [problem.message for problem in caught.value.problems]


def test_c17_a_certificate_with_its_key_is_taken(folder: Path) -> None:
    config = loads(configuration(entry(folder))).config
    interception = config.auditor[0].tls_interception
    assert interception is not None
    assert interception.client_certificates[0].name == "gateway"
    assert interception.on_client_certificate == "continue"


@pytest.mark.security
def test_c17_a_key_that_others_can_read_is_an_error(folder: Path) -> None:
    (folder / "own.key").chmod(0o640)
    (message,) = problems(configuration(entry(folder)))
    assert message == f"{folder}/own.key: others can read it (mode 0640); chmod 600"


def test_c17_names_are_told_apart_and_must_exist(folder: Path) -> None:
    (message,) = problems(configuration(entry(folder), entry(folder)))
    assert message == "there is another client certificate 'gateway' in this auditor"
    assert len(problems(configuration(entry(folder, ", tenants: [red], groups: [nobody]")))) == 2


def test_c17_files_must_be_there(folder: Path) -> None:
    (folder / "own.pem").unlink()
    assert any("cannot be read" in message for message in problems(configuration(entry(folder))))
