"""The record layer of TLS 1.0 to 1.2 after the handshake, with the ciphers that no library offers any more."""

import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4, TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES

SSL3, TLS10, TLS11, TLS12 = 0x0300, 0x0301, 0x0302, 0x0303
HANDSHAKE, ALERT, DATA, CHANGE_CIPHER_SPEC = 22, 21, 23, 20


@dataclass(frozen=True)
class Suite:
    """A cipher suite by its number (RFC 5246 appendix A.5). ``mac`` and ``key`` in octets; ``block`` 0: a stream cipher."""

    number: int
    exchange: str
    cipher: str
    key: int = 16
    block: int = 16
    mac: int = 20


SUITES = {
    "ECDHE-ECDSA-AES128-GCM": Suite(0xC02B, "ecdhe", "gcm", mac=0),
    "ECDHE-RSA-AES128-GCM": Suite(0xC02F, "ecdhe", "gcm", mac=0),
    "DHE-RSA-AES128-GCM": Suite(0x009E, "dhe", "gcm", mac=0),
    "RSA-AES128-GCM": Suite(0x009C, "rsa", "gcm", mac=0),
    "ECDHE-ECDSA-AES128-SHA": Suite(0xC009, "ecdhe", "cbc"),
    "ECDHE-RSA-AES128-SHA": Suite(0xC013, "ecdhe", "cbc"),
    "RSA-AES128-SHA": Suite(0x002F, "rsa", "cbc"),
    "RSA-3DES-SHA": Suite(0x000A, "rsa", "3des", key=24, block=8),
    "RSA-RC4-SHA": Suite(0x0005, "rsa", "rc4", block=0),
    "RSA-NULL-SHA": Suite(0x0002, "rsa", "null", key=0, block=0),
    "RSA-EXPORT-RC4-40": Suite(0x0003, "rsa", "rc4", block=0),
    "DH-anon-AES128-SHA": Suite(0x0034, "dhe", "cbc"),
    "ECDH-anon-AES128-SHA": Suite(0xC018, "ecdhe", "cbc"),
}


def prf(version: int, secret: bytes, label: bytes, seed: bytes, length: int) -> bytes:
    """RFC 5246 section 5; before 1.2, MD5 and SHA-1 side by side (RFC 2246 section 5)."""
    if version >= TLS12:
        return _expand("sha256", secret, label + seed, length)
    half = (len(secret) + 1) // 2
    left = _expand("md5", secret[:half], label + seed, length)
    right = _expand("sha1", secret[-half:], label + seed, length)
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _expand(name: str, secret: bytes, seed: bytes, length: int) -> bytes:
    data, step = b"", seed
    while len(data) < length:
        step = hmac.digest(secret, step, name)
        data += hmac.digest(secret, step + seed, name)
    return data[:length]


class Protection:
    """One direction of a connection: ``seal`` for what we send, ``open`` for what arrives."""

    def __init__(self, version: int, suite: Suite, mac: bytes, key: bytes, iv: bytes) -> None:
        self._version, self._suite = version, suite
        self._mac, self._key, self._iv = mac, key, iv
        self._sequence = 0
        self._stream: CipherContext | None = None

    def seal(self, kind: int, data: bytes) -> bytes:
        if self._suite.cipher == "gcm":
            nonce = os.urandom(8)
            return nonce + AESGCM(self._key).encrypt(self._iv + nonce, data, self._header(kind, len(data)))
        data += self._tag(kind, data)
        if not self._suite.block:
            return self._apply(data)
        pad = self._suite.block - 1 - len(data) % self._suite.block
        data += bytes([pad]) * (pad + 1)
        explicit = os.urandom(self._suite.block) if self._version >= TLS11 else b""
        return explicit + self._block(explicit or self._iv, data, Cipher.encryptor)

    def open(self, kind: int, data: bytes) -> bytes:
        """The plain text. Raises InvalidTag or ValueError: the other end has other keys."""
        if self._suite.cipher == "gcm":
            nonce, body = data[:8], data[8:]
            return AESGCM(self._key).decrypt(self._iv + nonce, body, self._header(kind, len(body) - 16))
        if self._suite.block:
            explicit = self._suite.block if self._version >= TLS11 else 0
            data = self._block(data[:explicit] or self._iv, data[explicit:], Cipher.decryptor)
            data = data[: -data[-1] - 1]
        else:
            data = self._apply(data)
        body, tag = data[: -self._suite.mac], data[-self._suite.mac :]
        if tag != self._tag(kind, body):
            raise ValueError("wrong MAC")
        return body

    def _header(self, kind: int, length: int) -> bytes:
        number, self._sequence = self._sequence, self._sequence + 1
        return number.to_bytes(8) + bytes([kind]) + self._version.to_bytes(2) + length.to_bytes(2)

    def _tag(self, kind: int, data: bytes) -> bytes:
        return hmac.digest(self._mac, self._header(kind, len(data)) + data, "sha1")

    def _apply(self, data: bytes) -> bytes:
        if self._suite.cipher == "null":
            return data
        self._stream = self._stream or Cipher(ARC4(self._key), None).encryptor()
        return self._stream.update(data)

    def _block(self, iv: bytes, data: bytes, direction: Callable[[Cipher], CipherContext]) -> bytes:
        algorithm = TripleDES(self._key) if self._suite.cipher == "3des" else AES(self._key)
        context = direction(Cipher(algorithm, modes.CBC(iv)))
        done = context.update(data) + context.finalize()
        if self._version < TLS11:
            # the last block is the next record's vector (RFC 2246 section 6.2.3.2)
            self._iv = (done if direction is Cipher.encryptor else data)[-self._suite.block :]
        return done


def protections(version: int, suite: Suite, master: bytes, randoms: tuple[bytes, bytes]) -> tuple[Protection, Protection]:
    """The client's and the server's direction. ``randoms``: the client's, the server's."""
    client, server = randoms
    iv = 4 if suite.cipher == "gcm" else suite.block
    block = prf(version, master, b"key expansion", server + client, 2 * (suite.mac + suite.key + iv))
    cut = [block[at:] for at in (0, suite.mac, 2 * suite.mac, 2 * suite.mac + suite.key)]
    cut += [block[2 * (suite.mac + suite.key) :], block[2 * (suite.mac + suite.key) + iv :]]
    make = [(cut[0], cut[2], cut[4]), (cut[1], cut[3], cut[5])]
    first, second = (Protection(version, suite, mac[: suite.mac], key[: suite.key], vector[:iv]) for mac, key, vector in make)
    return first, second


def transcript_hash(version: int, messages: bytes) -> bytes:
    if version >= TLS12:
        return hashlib.sha256(messages).digest()
    return hashlib.md5(messages).digest() + hashlib.sha1(messages).digest()
