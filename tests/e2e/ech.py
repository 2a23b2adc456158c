"""Encrypted Client Hello for tests (RFC 9849): configurations that nobody has a key of, hellos that carry the extension."""

import base64
import os
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_VERSION, _KEM_X25519, _KDF_SHA256, _AEAD_AES128 = 0xFE0D, 0x0020, 0x0001, 0x0001


def config_list(public_name: str) -> str:
    """An ECHConfigList (section 4) as DNS has it, in Base64."""
    key = X25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    suites = struct.pack(">HH", _KDF_SHA256, _AEAD_AES128)
    contents = struct.pack(">BHH", 7, _KEM_X25519, len(key)) + key + struct.pack(">H", len(suites)) + suites
    contents += struct.pack(">BB", 0, len(public_name)) + public_name.encode() + struct.pack(">H", 0)
    config = struct.pack(">HH", _VERSION, len(contents)) + contents
    return base64.b64encode(struct.pack(">H", len(config)) + config).decode()


def extension(payload: int = 144) -> bytes:
    """The extension's body in a ClientHelloOuter (section 5), with noise for what would be encrypted."""
    outer = struct.pack(">BHHB", 0, _KDF_SHA256, _AEAD_AES128, 7)
    return outer + struct.pack(">H", 32) + os.urandom(32) + struct.pack(">H", payload) + os.urandom(payload)


def client_hello(sni: str, *, ech: bool = True) -> bytes:
    """A record with a TLS 1.3 ClientHello that names ``sni``, as far as a server reads it before it answers."""
    name = sni.encode()
    key = X25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    extensions = [
        (0, struct.pack(">HBH", len(name) + 3, 0, len(name)) + name),
        (10, struct.pack(">HH", 2, 0x001D)),
        (13, struct.pack(">HHHH", 6, 0x0403, 0x0804, 0x0401)),
        (43, b"\x02\x03\x04"),
        (51, struct.pack(">HHH", len(key) + 4, 0x001D, len(key)) + key),
    ]
    if ech:
        extensions.append((_VERSION, extension()))
    block = b"".join(struct.pack(">HH", kind, len(body)) + body for kind, body in extensions)
    body = b"\x03\x03" + os.urandom(32) + b"\x20" + os.urandom(32) + b"\0\x04\x13\x01\x13\x02" + b"\x01\0"
    body += struct.pack(">H", len(block)) + block
    message = b"\x01" + len(body).to_bytes(3) + body
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message
