"""The test origin's CA and certificate. Both are made for this and trusted by nobody but the default configuration."""

import os
import secrets
import ssl
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from appliance.domain.clock import Clock, SystemClock
from certs.authority import Authority, load_or_create
from certs.leaf import sign_leaf
from certs.profile import LeafProfile

NAMES = ("origin.test", "localhost", "127.0.0.1", "::1")


def ensure_ca(directory: Path) -> Authority:
    """The CA in ``directory`` (``ca.pem`` and its key), made when absent.

    Raises:
        ConfigError: it is there and cannot be used, or cannot be made.
    """
    return load_or_create(directory.absolute().parent, directory.absolute().name, "Arcus Demo Origin CA")


def server_context(directory: Path, extra_names: tuple[str, ...] = (), clock: Clock | None = None) -> ssl.SSLContext:
    """A new certificate at each start, for ``NAMES`` and the addresses it listens on. Raises ConfigError."""
    authority = ensure_ca(directory)
    key = ec.generate_private_key(ec.SECP256R1())
    names = tuple(dict.fromkeys((*NAMES, *extra_names)))
    leaf = sign_leaf(authority, LeafProfile(names, NAMES[0]), key, clock or SystemClock(), secrets.randbits(120) | 1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    pem = leaf.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    # ssl loads certificates from files only; mkstemp makes it 0600
    handle, name = tempfile.mkstemp(dir=directory, prefix="leaf-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()
    return context
