"""Certificates for servers that ask for one: ``auditor.tls_interception.client_certificates``."""

from pydantic import Field

from appliance.config.values import Domain, FilePath, Name, Node


class ClientCertificate(Node):
    """Presented to servers that ask for one, are listed here, and whose own certificate has no fault; to nobody else. All
    conditions given must hold; the first entry that fits is used."""

    name: Name
    """For health and logs."""
    hosts: list[Domain] = Field(min_length=1)
    """``host`` or ``.suffix``, as the server's certificate is verified for it."""
    certificate: FilePath
    """PEM: the certificate, then its intermediates."""
    private_key: FilePath
    """PEM, without a passphrase; nobody but the owner may read the file."""
    tenants: list[Name] = []
    """Tenants, where several use this auditor."""
    users: list[str] = []
    """Names of users."""
    groups: list[Name] = []
    """Names of user groups."""
