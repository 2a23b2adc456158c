"""TLS to ``icaps://`` services."""

import ssl
from pathlib import Path


def client_context(ca: Path | None = None, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Verifies name and chain, by the authorities in the PEM file ``ca`` instead of the system's when it is given, and shows
    ``certificate`` to services that ask for one.

    Raises:
        OSError: a file cannot be read, or holds nothing that can be used (ssl.SSLError).
    """
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context
