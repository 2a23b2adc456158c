"""The parent's sockets: what is kept, what is bound anew, and that a refused configuration leaves nothing (REG-02, C20)."""

import socket
from typing import Any

import pytest

from appliance.app.sockets import Sockets, shared_out
from appliance.config.root import AppConfig
from appliance.domain.errors import ConfigError
from tests.appliance.config.base import BASE, loads
from tests.ports import free_port


@pytest.fixture
def config() -> AppConfig:
    return loads(BASE).config.model_copy(update={"server": [], "admin": None, "icap_server": None, "demo_origin": None})


def with_servers(config: AppConfig, **ports: int) -> AppConfig:
    kind = loads(BASE).config.server[0]
    servers = [
        type(kind).model_validate({"name": name, "type": kind.type, "listen": {"address": f"127.0.0.1:{port}"}})
        for name, port in ports.items()
    ]
    return config.model_copy(update={"server": servers})


def reachable(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return False
    return True


def closed(*groups: Any) -> None:
    for bound in groups:
        for socks in bound.groups.values():
            for sock in socks:
                sock.close()


def test_reg_02_the_same_address_keeps_its_sockets_whatever_its_name(config: AppConfig) -> None:
    port, sockets = free_port(), Sockets()
    first = sockets.bind(with_servers(config, one=port), 2)
    first.listen()
    sockets.adopt(first)
    second = sockets.bind(with_servers(config, renamed=port), 2)
    assert second.fresh == []
    assert [list(first.of("worker", index, 2).values()) for index in (0, 1)] == [
        list(second.of("worker", index, 2).values()) for index in (0, 1)
    ]
    closed(second)


def test_c20_sockets_of_workers_that_are_no_more_are_shared_out(config: AppConfig) -> None:
    """Clients wait in them: to close one would reset them."""
    asked, sockets = with_servers(config, one=free_port()), Sockets()
    four = sockets.bind(asked, 4)
    sockets.adopt(four)
    three = sockets.bind(asked, 3)
    assert three.fresh == []
    shares = [shared_out(three.of("worker", index, 3), "one") for index in range(3)]
    assert [len(share) for share in shares] == [2, 1, 1]
    assert {sock.fileno() for share in shares for sock in share} == {
        sock.fileno() for socks in four.groups.values() for sock in socks
    }
    closed(three)


def test_c20_nobody_can_connect_before_somebody_is_ready_to_accept(config: AppConfig) -> None:
    port, sockets = free_port(), Sockets()
    bound = sockets.bind(with_servers(config, one=port), 2)
    assert not reachable(port)
    bound.listen()
    assert reachable(port)
    bound.abandon()
    assert not reachable(port)


def test_cfg_09_one_address_that_cannot_be_had_leaves_none_of_the_others_bound(config: AppConfig) -> None:
    free, sockets = free_port(), Sockets()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        asked = with_servers(config, free=free, taken=taken.getsockname()[1])
        with pytest.raises(ConfigError) as refused:
            sockets.bind(asked, 2)
    [problem] = refused.value.problems
    assert problem.path == "server[taken].listen"
    assert "stop what uses it" in problem.message
    socket.create_server(("127.0.0.1", free)).close()


def test_cfg_09_a_port_that_changes_its_purpose_takes_two_reloads(config: AppConfig) -> None:
    port, sockets = free_port(), Sockets()
    admin = loads(BASE).config.admin
    assert admin is not None
    held = sockets.bind(with_servers(config, one=port), 1)
    held.listen()
    sockets.adopt(held)
    listen = admin.listen.model_validate({"address": f"127.0.0.1:{port}"})
    with pytest.raises(ConfigError, match="with two reloads"):
        sockets.bind(config.model_copy(update={"admin": admin.model_copy(update={"listen": listen})}), 1)
    closed(held)


def test_reg_02_a_listener_that_is_gone_is_closed_and_the_rest_is_not(config: AppConfig) -> None:
    stays, goes, sockets = free_port(), free_port(), Sockets()
    both = sockets.bind(with_servers(config, stays=stays, goes=goes), 1)
    both.listen()
    sockets.adopt(both)
    one = sockets.bind(with_servers(config, stays=stays), 1)
    one.listen()
    sockets.adopt(one)
    assert (reachable(stays), reachable(goes)) == (True, False)
    closed(one)
