"""A TLS handshake between two OpenSSL connections over memory, and a server that may be as bad as it likes."""

from collections.abc import Callable, Sequence

from OpenSSL import SSL

from tests.certs.forge_origin import Pair

type Rewrite = Callable[[bytes], bytes]


def bad_server(
    leaf: Pair, chain: Sequence[Pair] = (), *, tls12: bool = False, staple: bytes = b"", ciphers: bytes = b"ALL"
) -> SSL.Connection:
    """A server without scruples: every cipher and key size."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_cipher_list(ciphers + b":@SECLEVEL=0")
    if tls12:
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(leaf.certificate)
    context.use_privatekey(leaf.key)
    for each in chain:
        context.add_extra_chain_cert(each.certificate)
    if staple:
        context.set_ocsp_server_callback(lambda _connection, _data: staple)
    return accepting(context)


def accepting(context: SSL.Context, app_data: object = None) -> SSL.Connection:
    connection = SSL.Connection(context)
    connection.set_app_data(app_data)
    connection.set_accept_state()
    return connection


def handshake(client: SSL.Connection, server: SSL.Connection, rewrite: Rewrite = bytes) -> SSL.Error | None:
    """Run both ends; ``rewrite`` sees what the server sends. Returns the client's error, or the server's if it has none."""
    server_error = None
    for _ in range(12):
        try:
            client.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            return error
        _carry(client, server)
        try:
            server.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            server_error = error
        _carry(server, client, rewrite)
    return server_error


def _carry(source: SSL.Connection, target: SSL.Connection, rewrite: Rewrite = bytes) -> None:
    flight = b""
    while True:
        try:
            flight += source.bio_read(65536)
        except SSL.WantReadError:
            break
    if flight:
        target.bio_write(rewrite(flight))


def sending(*certificates: bytes) -> Rewrite:
    """Put these bytes in place of the certificates of a TLS 1.2 server's first flight, which is not encrypted yet."""

    def rewrite(flight: bytes) -> bytes:
        if flight[0] != 22:
            return flight
        messages = b"".join(payload for kind, payload in _records(flight) if kind == 22)
        changed = b"".join(_message(kind, body, certificates) for kind, body in _messages(messages))
        return b"".join(b"\x16\x03\x03" + len(part).to_bytes(2) + part for part in _pieces(changed))

    return rewrite


def _records(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        length = int.from_bytes(data[3:5])
        found.append((data[0], data[5 : 5 + length]))
        data = data[5 + length :]
    return found


def _messages(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        length = int.from_bytes(data[1:4])
        found.append((data[0], data[4 : 4 + length]))
        data = data[4 + length :]
    return found


def _message(kind: int, body: bytes, certificates: Sequence[bytes]) -> bytes:
    if kind == 11:
        entries = b"".join(len(each).to_bytes(3) + each for each in certificates)
        body = len(entries).to_bytes(3) + entries
    return bytes([kind]) + len(body).to_bytes(3) + body


def _pieces(data: bytes, size: int = 16000) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
