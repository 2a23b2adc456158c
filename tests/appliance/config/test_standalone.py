"""The ICAP server's part of a configuration, alone or inside the appliance's."""

from pathlib import Path

import pytest
import trustme

from appliance.config.standalone import is_standalone, load_icap, parse_icap
from appliance.domain.errors import ConfigError

GOOD = """
state_dir: here
icap_server:
  listen: {address: "127.0.0.1:1344"}
  unix: {path: icap.sock, mode: "0600"}
  workers: 2
  scanner: {type: clamd, tcp: "127.0.0.1:3310"}
"""
TLS = '  tls: {listen: {address: "127.0.0.1:%d"}, certificate: none, private_key: none}\n'


def problems(text: str, base: Path) -> list[tuple[str, int]]:
    with pytest.raises(ConfigError) as caught:
        parse_icap(text, file="icap.yaml", base=base)
    assert all(problem.file == "icap.yaml" for problem in caught.value.problems)
    return [(problem.path, problem.line) for problem in caught.value.problems]


def test_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "icap.yaml"
    path.write_text(GOOD)
    config = load_icap(path).config
    assert config.icap_server is not None
    assert config.icap_server.unix is not None
    assert (config.state_dir, config.icap_server.unix.path) == (tmp_path / "here", tmp_path / "icap.sock")
    assert (config.icap_server.workers, config.server) == (2, [])


NOWHERE = "icap_server:\n  scanner: {type: clamd, tcp: '127.0.0.1:3310'}\n"
UNIX = "  unix: {path: icap.sock}\n"


def test_one_way_in_is_enough(tmp_path: Path) -> None:
    trustme.CA().issue_cert("icap.test").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    (tmp_path / "both.pem").chmod(0o600)
    ways = {"listen": '  listen: {address: "127.0.0.1:1344"}\n', "tls.listen": (TLS % 11344).replace("none", "both.pem")}
    for key, way in ways.items():
        server = parse_icap(NOWHERE + way, file="icap.yaml", base=tmp_path).config.icap_server
        assert server is not None
        assert list(server.listens) == [key]
    server = parse_icap(NOWHERE + UNIX, file="icap.yaml", base=tmp_path).config.icap_server
    assert server is not None
    assert not server.listens


def test_a_server_that_nobody_could_reach_is_refused(tmp_path: Path) -> None:
    assert problems(NOWHERE, tmp_path) == [("icap_server", 1)]


def test_a_file_for_the_icap_server_alone_is_known_by_its_keys(tmp_path: Path) -> None:
    file = tmp_path / "icap.yaml"
    for text, alone in (
        (GOOD, True),
        (GOOD + "log: {level: debug}\n", True),
        (GOOD + "tenant: []\n", False),
        ("log: {}\n", False),
    ):
        file.write_text(text)
        assert is_standalone(file) is alone, text


def test_the_appliances_file_will_do(tmp_path: Path) -> None:
    """Its other parts are not looked at: their certificates and ports may be on another machine."""
    text = GOOD + "server: [{name: x, broken: true}]\ntenant: nonsense\n"
    assert parse_icap(text, file="arcus.yaml", base=tmp_path).config.icap_server is not None


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("state_dir: x\n", "icap_server", 1),
        (GOOD.replace("workers: 2", "workers: 0"), "icap_server.workers", 6),
        (GOOD.replace("workers", "worker"), "icap_server.worker", 6),
        (GOOD + "sever: []\n", "sever", 8),
        (GOOD.replace('"0600"', "600"), "icap_server.unix.mode", 5),
        (GOOD.replace('"0600"', '"9999"'), "icap_server.unix.mode", 5),
        (GOOD.replace("icap.sock", "x" * 120), "icap_server.unix.path", 5),
        (GOOD + TLS % 1, "icap_server.tls.certificate", 8),
        (GOOD + TLS % 1344, "icap_server.tls.listen.address", 8),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, path: str, line: int) -> None:
    assert (path, line) in problems(text, tmp_path)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_icap(tmp_path / "none.yaml")
    assert problems("a: [", tmp_path)
