"""The scripted server itself: clients that agree to what it offers get to its content, so a refusal is the client's."""

import collections
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from OpenSSL import SSL

from tests.tlslab.case import Expect, LabCase
from tests.tlslab.serving import CONTENT, Serving, serving
from tests.tlslab.table import CASES, CERTIFICATES, GROUPS, PARAMETERS

UNREADABLE = {
    "trailing bytes", "truncated", "not a certificate", "random bytes", "zeros", "empty entry", "empty list", "bad UTF-8",
}  # fmt: skip
"""Certificates that no client could go on with."""
REFUSED_BY_THE_LIBRARY = {
    "SSL 3", "RC4", "NULL", "3DES", "export", "DHE 512", "P-192", "MD5 in ServerKeyExchange", "compression",
    "broken ServerKeyExchange", "downgrade sentinel for 1.2", "downgrade sentinel for 1.1", "no secure renegotiation",
    "a point off the curve", "the point zero", "key mismatch",
}  # fmt: skip
"""What today's OpenSSL refuses at every setting."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(CASES, tmp_path_factory.mktemp("lab")) as found:
        yield found


def careless() -> SSL.Context:
    """A client that verifies nothing and takes every cipher and version it has."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    return context


def fetch(lab: Serving, case: LabCase) -> bytes:
    with socket.create_connection((case.address, lab.port(case)), 10) as sock:
        sock.setblocking(True)
        connection = SSL.Connection(careless(), sock)
        connection.set_connect_state()
        try:
            connection.do_handshake()
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            data = b""
            while CONTENT not in data:
                data += connection.recv(65536)
        except (SSL.Error, OSError):
            return b""
        return data


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in UNREADABLE | REFUSED_BY_THE_LIBRARY], ids=str)
def test_a_careless_client_gets_the_content(lab: Serving, case: LabCase) -> None:
    """Otherwise a proxy would pass the tests by being unable to talk at all."""
    assert CONTENT in fetch(lab, case)


@pytest.mark.parametrize(
    ("name", "priority"),
    [
        ("RC4", "NONE:+VERS-TLS1.2:+RSA:+ARCFOUR-128:+SHA1:+COMP-NULL:+SIGN-ALL"),
        ("3DES", "NONE:+VERS-TLS1.2:+RSA:+3DES-CBC:+SHA1:+COMP-NULL:+SIGN-ALL"),
        ("NULL", "NONE:+VERS-TLS1.2:+RSA:+NULL:+SHA1:+COMP-NULL:+SIGN-ALL"),
        ("P-192", "NORMAL:-VERS-TLS1.3:+CURVE-SECP192R1:-CURVE-SECP256R1:-CURVE-X25519"),
        ("no secure renegotiation", "NORMAL:-VERS-TLS1.3:%UNSAFE_RENEGOTIATION"),
        ("DHE 512", "NORMAL:-VERS-TLS1.3:-ECDHE-ECDSA:-ECDHE-RSA:-RSA:%PROFILE_VERY_WEAK"),
    ],
)
@pytest.mark.skipif(shutil.which("gnutls-cli") is None, reason="gnutls-cli is not installed")
def test_an_old_client_gets_the_content(lab: Serving, name: str, priority: str) -> None:
    """GnuTLS still has what OpenSSL has not."""
    case = next(case for case in PARAMETERS if case.name == name)
    command = ["gnutls-cli", "--insecure", "--no-ca-verification", "--dh-bits=128", "--priority", priority, "--port"]
    done = subprocess.run(
        [*command, str(lab.port(case)), "127.0.0.1"],
        input=b"GET / HTTP/1.1\r\n\r\n", capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    assert CONTENT in done.stdout, done.stdout.decode() + done.stderr.decode()


def test_every_case_has_its_own_name_and_group() -> None:
    assert not [name for name, times in collections.Counter(map(str, CASES)).items() if times > 1]
    assert {case.group for case in CASES} == set(GROUPS)
    assert all(re.fullmatch(r"ok|upstream_[a-z_]+", case.cause) for case in CASES)
    assert all((case.cause == "ok") is (case.expect is Expect.MUST_PASS) for case in CASES)


def test_the_table_is_no_smaller_than_the_list_of_known_mistakes() -> None:
    assert len(CERTIFICATES) >= 91
    assert len(PARAMETERS) >= 27


def test_ports_are_closed_at_the_end(tmp_path: Path) -> None:
    with serving(PARAMETERS[:2], tmp_path) as lab:
        port = lab.port(PARAMETERS[0])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
