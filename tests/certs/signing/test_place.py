"""Where the signer's socket is, and who can reach it."""

import os
import stat

import pytest

from certs.signing import place


def test_a_socket_in_a_directory_with_a_long_name(tmp_path):
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    with place.bind(directory) as listening, place.connect(directory) as client:
        server, _ = listening.accept()
        with server:
            client.send(b"x")
            assert server.recv(1) == b"x"
            assert place.peer_user(server) == os.geteuid()


@pytest.mark.security
def test_tls_08_nobody_else_may_connect(tmp_path):
    with place.bind(tmp_path):
        assert stat.S_IMODE((tmp_path / place.NAME).stat().st_mode) == 0o600


def test_what_an_earlier_run_left_is_replaced(tmp_path):
    place.bind(tmp_path).close()
    with pytest.raises(ConnectionRefusedError):
        place.connect(tmp_path)
    with place.bind(tmp_path), place.connect(tmp_path):
        pass


def test_no_socket_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        place.connect(tmp_path)
    with pytest.raises(FileNotFoundError):
        place.bind(tmp_path / "none")
