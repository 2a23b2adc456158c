"""Sockets of the ICAP server's workers: shared ports, and a unix socket that is nobody else's."""

import contextlib
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.app.icap_sockets import PLAIN, TLS, UNIX, bind_unix, icap_children, process_names
from appliance.config.icap_listen import IcapUnixListen
from appliance.config.root import AppConfig
from appliance.config.standalone import parse_icap
from appliance.domain.errors import Problem
from appliance.engine.supervisor import Child
from tests.ports import free_port


def config(base: Path, **more: object) -> AppConfig:
    import json

    server = {"listen": {"address": "127.0.0.1:0"}, "scanner": {"type": "clamd", "tcp": "127.0.0.1:3310"}} | more
    return parse_icap(json.dumps({"icap_server": server}), file="test", base=base).config


@contextlib.contextmanager
def closing(children: list[Child]) -> Iterator[list[Child]]:
    try:
        yield children
    finally:
        for child in children:
            for sock in child.sockets.values():
                sock.close()


def test_each_worker_has_a_queue_on_the_same_port_and_all_take_from_one_unix_socket(tmp_path: Path) -> None:
    problems: list[Problem] = []
    path = tmp_path / "icap.sock"
    node = config(tmp_path, workers=3, unix={"path": str(path)})
    with closing(icap_children(node, problems)) as children:
        assert problems == []
        assert process_names(node) == ["icap-0", "icap-1", "icap-2"]
        assert len({child.sockets[PLAIN].getsockname() for child in children}) == 1
        assert len({child.sockets[PLAIN].fileno() for child in children}) == 3
        assert len({child.sockets[UNIX].fileno() for child in children}) == 1
        assert all(TLS not in child.sockets for child in children)
        socket.create_connection(children[0].sockets[PLAIN].getsockname()).close()


def test_one_worker_keeps_the_name_it_always_had(tmp_path: Path) -> None:
    assert process_names(config(tmp_path)) == ["icap"]


def test_a_port_that_is_taken_is_a_problem_and_nothing_is_bound(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        problems: list[Problem] = []
        assert icap_children(config(tmp_path, workers=2, listen={"address": f"127.0.0.1:{port}"}), problems) == []
    assert [problem.path for problem in problems] == ["icap_server.listen"]


@pytest.mark.parametrize("mode", ["0600", "0660", "666"])
def test_a_unix_socket_has_its_mode_and_replaces_a_dead_one(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "s"
    for _ in range(2):  # the second finds the first one's file
        with bind_unix(IcapUnixListen(path=path, mode=mode), 5):
            assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8)


def test_a_unix_socket_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind_unix(IcapUnixListen(path=path), 5), pytest.raises(OSError, match="another process listens there"):
        bind_unix(IcapUnixListen(path=path), 5)
    path.unlink()
    path.write_text("precious")
    with pytest.raises(OSError, match="something else"):
        bind_unix(IcapUnixListen(path=path), 5)
    assert path.read_text() == "precious"


def test_a_unix_socket_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    problems: list[Problem] = []
    unix = {"path": str(tmp_path / "none" / "s")}
    assert icap_children(config(tmp_path, unix=unix, listen={"address": f"127.0.0.1:{free_port()}"}), problems) == []
    assert [problem.path for problem in problems] == ["icap_server.unix"]
