"""Sockets of the ICAP server's workers: shared ports, and a unix socket that is nobody else's."""

import contextlib
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.app.icap_sockets import PLAIN, TLS, UNIX, bind_unix, process_names
from appliance.app.sockets import Sockets
from appliance.config.icap_listen import IcapUnixListen
from appliance.config.root import AppConfig
from appliance.config.standalone import parse_icap
from appliance.domain.errors import ConfigError
from tests.ports import free_port


def config(base: Path, **more: object) -> AppConfig:
    import json

    server = {"listen": {"address": "127.0.0.1:0"}, "scanner": {"type": "clamd", "tcp": "127.0.0.1:3310"}} | more
    return parse_icap(json.dumps({"icap_server": server}), file="test", base=base).config


@contextlib.contextmanager
def bound(node: AppConfig) -> Iterator[list[dict[str, socket.socket]]]:
    """What each of the ICAP server's processes gets."""
    made, count = Sockets().bind(node, 0), len(process_names(node))
    made.listen()
    try:
        yield [made.of("icap", index, count) for index in range(count)]
    finally:
        made.abandon()


def test_each_worker_has_a_queue_on_the_same_port_and_all_take_from_one_unix_socket(tmp_path: Path) -> None:
    node = config(tmp_path, workers=3, unix={"path": str(tmp_path / "icap.sock")})
    assert process_names(node) == ["icap-0", "icap-1", "icap-2"]
    with bound(node) as shares:
        assert len({share[PLAIN].getsockname() for share in shares}) == 1
        assert len({share[PLAIN].fileno() for share in shares}) == 3
        assert len({share[UNIX].fileno() for share in shares}) == 1
        assert all(TLS not in share for share in shares)
        socket.create_connection(shares[0][PLAIN].getsockname()).close()


def test_a_unix_socket_may_be_the_only_way_in(tmp_path: Path) -> None:
    with bound(config(tmp_path, listen=None, workers=2, unix={"path": str(tmp_path / "icap.sock")})) as shares:
        assert [list(share) for share in shares] == [[UNIX], [UNIX]]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "icap.sock"))


def test_one_worker_keeps_the_name_it_always_had(tmp_path: Path) -> None:
    assert process_names(config(tmp_path)) == ["icap"]


def test_a_port_that_is_taken_is_a_problem_and_nothing_is_bound(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError) as refused:
            Sockets().bind(config(tmp_path, workers=2, listen={"address": f"127.0.0.1:{port}"}), 0)
    assert [problem.path for problem in refused.value.problems] == ["icap_server.listen"]


@pytest.mark.parametrize("mode", ["0600", "0660", "666"])
def test_a_unix_socket_has_its_mode_and_replaces_a_dead_one(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "s"
    for _ in range(2):  # the second finds the first one's file
        with bind_unix(IcapUnixListen(path=path, mode=mode)):
            assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8)


def test_a_unix_socket_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind_unix(IcapUnixListen(path=path)) as listening:
        listening.listen()
        with pytest.raises(OSError, match="another process listens there"):
            bind_unix(IcapUnixListen(path=path))
    path.unlink()
    path.write_text("precious")
    with pytest.raises(OSError, match="something else"):
        bind_unix(IcapUnixListen(path=path))
    assert path.read_text() == "precious"


def test_a_unix_socket_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    unix = {"path": str(tmp_path / "none" / "s")}
    with pytest.raises(ConfigError) as refused:
        Sockets().bind(config(tmp_path, unix=unix, listen={"address": f"127.0.0.1:{free_port()}"}), 0)
    assert [problem.path for problem in refused.value.problems] == ["icap_server.unix"]
