"""Signing CAs: the ``ca`` list."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from appliance.config.pkcs11 import Pkcs11
from appliance.config.values import FilePath, Name, Node, Seconds, Url


class Ca(Node):
    """A signing CA: made under ``state_dir/ca/<name>`` at first start, unless ``certificate`` and ``private_key`` are given."""

    name: Name
    """What tenants refer to it by, and its folder under ``state_dir/ca``."""
    common_name: str = Field("Arcus Inspection CA", min_length=1, max_length=64)
    """Shown in the trust stores of clients. Only used when the CA is created."""
    key: Literal["ec-p256", "ec-p384", "rsa-2048", "rsa-4096"] = "ec-p256"
    """The key that is created. Leaves have keys of their own."""
    certificate: FilePath | None = None
    """A PEM file with the CA certificate, then its chain, if any."""
    private_key: FilePath | None = None
    """The key of ``certificate``, as PEM without a passphrase, mode 0600."""
    pkcs11: Pkcs11 | None = None
    """The key is in a token, instead of a file. Its certificate is ``certificate``, or is made by ``arcus ca init``."""
    validity_days: int = Field(1825, ge=30, le=7300)
    """How long a created CA is valid."""
    signer: Literal["process", "in_process"] = "process"
    """Who holds the key: a process that does nothing but sign, or each worker. ``process`` keeps the key out of the memory of
    everything that reads the network, and workers share what was signed; ``in_process`` saves one process of 60 MB."""
    leaf_days: int = Field(47, ge=1, le=200)
    """How long a forged certificate is valid; never longer than the CA and the real certificate."""
    leaf_key: Literal["origin", "ec"] = "origin"
    """The kind of key of forged certificates: the origin's, RSA-2048 or P-256, as far as the client accepts it; or P-256
    always, which costs a handshake a twentieth of the signing time. A client without ECDSA gets RSA either way."""
    next_share: int = Field(0, ge=0, le=100)
    """While this CA is being replaced (`arcus ca rotate`): the percentage of the clients that have accepted the next one to be
    served by it before the switch. A client is known by its address; one that has not accepted it is never served by it."""
    revocation_url: Url | None = None
    """Where clients reach this appliance over plain HTTP to ask whether a forged certificate is revoked, such as
    ``http://arcus.internal`` (the portal, through the proxy) or ``http://10.0.0.1:9090`` (the admin listener). Forged
    certificates then name a CRL, an OCSP responder and their issuer's certificate below it; without it they name none."""
    leaf_cache_size: int = Field(2_000, ge=1)
    """Leaves kept in memory by each worker, of all its tenants together; one takes about 26 KB, and signing it again well
    under a millisecond. Where there is no more room, the tenant with the most leaves gives up its oldest."""
    leaf_cache_ttl: Seconds = 86_400.0
    """How long one is kept."""

    @field_validator("revocation_url")
    @classmethod
    def _is_plain(cls, value: str | None) -> str | None:
        """RFC 5280 section 8: fetched over TLS, its server's certificate would have to be looked up in the same way."""
        if value is not None and (urlsplit(value).scheme.lower() != "http" or set("?#") & set(value) or len(value) > 200):
            raise ValueError("not a plain address of 200 characters or fewer that begins with http://")
        return value
