"""A TLS 1.0 to 1.2 server that says exactly what a script tells it to, and carries on with every client that lets it.

OpenSSL would not send a truncated certificate, an MD5 signature or a composite modulus; and a server that gives up
after its own first flight cannot tell a client that refused from one that did not care.
"""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.hashes import MD5, SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.certs.forge_origin import Key
from tests.tlslab.record import (
    ALERT,
    CHANGE_CIPHER_SPEC,
    DATA,
    HANDSHAKE,
    SUITES,
    TLS12,
    Protection,
    prf,
    protections,
    transcript_hash,
)

HASHES: dict[str, tuple[int, HashAlgorithm]] = {"md5": (1, MD5()), "sha1": (2, SHA1()), "sha256": (4, SHA256())}
CURVES: dict[int, ec.EllipticCurve] = {19: ec.SECP192R1(), 23: ec.SECP256R1()}
P192, P256, X25519 = 19, 23, 29


@dataclass(frozen=True)
class Script:
    """What the server says. ``certificates`` None: no Certificate message at all. ``key`` signs or decrypts."""

    certificates: Sequence[bytes] | None
    key: Key
    suite: str = "ECDHE-ECDSA-AES128-GCM"
    version: int = TLS12
    hash: str = "sha256"
    curve: int = P256
    modulus: int = 0
    sentinel: bytes = b""
    """The end of the server's random (RFC 8446 section 4.1.3)."""
    compression: int = 0
    renegotiation_info: bool = True
    break_signature: bool = False
    point: bytes = b""
    """In place of the server's public point."""


@dataclass
class Seen:
    """What a client did. ``went_on``: it answered the server's flight with its key exchange."""

    hello: bytes = b""
    alerts: list[int] = field(default_factory=list)
    went_on: bool = False
    finished: bool = False


class ClientGone(Exception):
    """The client closed or refused; nothing more to do."""


class Conversation:
    """One connection, after a script."""

    def __init__(self, sock: socket.socket, script: Script, seen: Seen) -> None:
        self._sock, self._script, self._seen = sock, script, seen
        self._suite = SUITES[script.suite]
        self._in = self._records = b""
        self._transcript = b""
        self._reading: Protection | None = None
        self._writing: Protection | None = None
        self._random = os.urandom(32 - len(script.sentinel)) + script.sentinel
        self._premaster: Callable[[bytes], bytes] = self._decrypted

    def run(self, answer: bytes) -> None:
        """The handshake, one read, ``answer``, close. Raises ClientGone, OSError, ValueError or InvalidTag."""
        hello = self._message(1)
        self._seen.hello = hello
        client_random = hello[2:34]
        self._flight(client_random, hello)
        exchange = self._message(16)
        self._seen.went_on = True
        master = prf(self._script.version, self._premaster(exchange), b"master secret", client_random + self._random, 48)
        reading, writing = protections(self._script.version, self._suite, master, (client_random, self._random))
        if self._record()[0] != CHANGE_CIPHER_SPEC:
            raise ClientGone
        self._reading = reading
        self._message(20)
        self._seen.finished = True
        self._send(CHANGE_CIPHER_SPEC, b"\1")
        self._writing = writing
        digest = transcript_hash(self._script.version, self._transcript)
        self._say(20, prf(self._script.version, master, b"server finished", digest, 12))
        while self._record()[0] != DATA:
            pass
        self._send(DATA, answer)
        self._send(ALERT, b"\1\0")

    # -- what we say

    def _flight(self, client_random: bytes, hello: bytes) -> None:
        self._say(2, self._server_hello(), now=False)
        if self._script.certificates is not None:
            entries = b"".join(len(each).to_bytes(3) + each for each in self._script.certificates)
            self._say(11, len(entries).to_bytes(3) + entries, now=False)
        if self._suite.exchange != "rsa":
            params = self._ecdhe() if self._suite.exchange == "ecdhe" else self._dhe()
            self._say(12, params + self._signed(client_random + self._random + params), now=False)
        self._say(14, b"")

    def _server_hello(self) -> bytes:
        script = self._script
        body = script.version.to_bytes(2) + self._random + b"\0" + self._suite.number.to_bytes(2) + bytes([script.compression])
        extensions = b"\xff\x01\x00\x01\x00" if script.renegotiation_info else b""
        if self._suite.exchange == "ecdhe":
            extensions += b"\x00\x0b\x00\x02\x01\x00"
        return body + (len(extensions).to_bytes(2) + extensions if extensions else b"")

    def _ecdhe(self) -> bytes:
        if self._script.curve == X25519:
            private = x25519.X25519PrivateKey.generate()
            point = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            self._premaster = lambda body: private.exchange(x25519.X25519PublicKey.from_public_bytes(body[1:]))
        else:
            curve = CURVES[self._script.curve]
            key = ec.generate_private_key(curve)
            point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            self._premaster = lambda body: key.exchange(
                ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(curve, body[1:])
            )
        point = self._script.point or point
        return b"\x03" + self._script.curve.to_bytes(2) + bytes([len(point)]) + point

    def _dhe(self) -> bytes:
        modulus, secret = self._script.modulus, int.from_bytes(os.urandom(32))
        size = (modulus.bit_length() + 7) // 8
        self._premaster = lambda body: pow(int.from_bytes(body[2:]), secret, modulus).to_bytes(size).lstrip(b"\0")
        parts = (modulus.to_bytes(size), b"\2", pow(2, secret, modulus).to_bytes(size))
        return b"".join(len(part).to_bytes(2) + part for part in parts)

    def _decrypted(self, body: bytes) -> bytes:
        key = self._script.key
        assert isinstance(key, rsa.RSAPrivateKey)
        return key.decrypt(body[2:], padding.PKCS1v15())

    def _signed(self, data: bytes) -> bytes:
        if self._script.certificates is None:
            return b""
        number, hash_ = HASHES[self._script.hash]
        key = self._script.key
        if isinstance(key, rsa.RSAPrivateKey):
            kind, signature = 1, key.sign(data, padding.PKCS1v15(), hash_)
        else:
            kind, signature = 3, key.sign(data, ec.ECDSA(hash_ if self._script.version >= TLS12 else SHA1()))
        if self._script.break_signature:
            signature = signature[:-1] + bytes([signature[-1] ^ 1])
        algorithm = bytes([number, kind]) if self._script.version >= TLS12 else b""
        return algorithm + len(signature).to_bytes(2) + signature

    # -- the wire

    def _say(self, kind: int, body: bytes, *, now: bool = True) -> None:
        message = bytes([kind]) + len(body).to_bytes(3) + body
        self._transcript += message
        self._records += message
        if now:
            data, self._records = self._records, b""
            for at in range(0, len(data), 16000):
                self._send(HANDSHAKE, data[at : at + 16000])

    def _send(self, kind: int, data: bytes) -> None:
        if self._writing:
            data = self._writing.seal(kind, data)
        self._sock.sendall(bytes([kind]) + self._script.version.to_bytes(2) + len(data).to_bytes(2) + data)

    def _message(self, wanted: int) -> bytes:
        while len(self._in) < 4 or len(self._in) < 4 + int.from_bytes(self._in[1:4]):
            kind, data = self._record()
            if kind != HANDSHAKE:
                raise ClientGone
            self._in += data
        length = 4 + int.from_bytes(self._in[1:4])
        message, self._in = self._in[:length], self._in[length:]
        self._transcript += message
        if message[0] != wanted:
            raise ClientGone
        return message[4:]

    def _record(self) -> tuple[int, bytes]:
        head = self._exactly(5)
        data = self._exactly(int.from_bytes(head[3:5]))
        if self._reading:
            data = self._reading.open(head[0], data)
        if head[0] == ALERT:
            self._seen.alerts.append(data[1])
            raise ClientGone
        return head[0], data

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._sock.recv(count - len(data))
            if not piece:
                raise ClientGone
            data += piece
        return data


def serve(sock: socket.socket, script: Script, answer: bytes) -> Seen:
    """Hold the conversation and say what the client did."""
    seen = Seen()
    try:
        Conversation(sock, script, seen).run(answer)
    except (ClientGone, OSError, ValueError, InvalidTag):
        return seen
    return seen
