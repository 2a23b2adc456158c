"""Whose leaves: what is made for one tenant under one CA is for nobody else, also where tenants share a CA.

On the wire a scope comes before the profile: fingerprint (32 octets) | length of the tenant (1) | tenant in UTF-8.
"""

from dataclasses import dataclass

FINGERPRINT = 32


@dataclass(frozen=True, slots=True)
class Scope:
    """``tenant``: empty for probes of our own, whose leaves no client is shown. ``authority``: the SHA-256 of the CA's
    certificate in hex."""

    tenant: str
    authority: str

    def to_bytes(self) -> bytes:
        """Raises ValueError for a tenant of more than 255 octets."""
        tenant = self.tenant.encode()
        if len(tenant) > 255:
            raise ValueError("the name of a tenant is too long")
        return bytes.fromhex(self.authority) + bytes((len(tenant),)) + tenant

    def __str__(self) -> str:
        """As it stands in the keys of shared stores."""
        return f"{self.tenant}:{self.authority}"


def read_scope(data: bytes) -> tuple[Scope, bytes]:
    """The scope in front, and what follows it. Raises ValueError."""
    end = FINGERPRINT + 1 + int.from_bytes(data[FINGERPRINT : FINGERPRINT + 1])
    if len(data) <= FINGERPRINT or len(data) < end:
        raise ValueError("a scope that is cut short")
    return Scope(data[FINGERPRINT + 1 : end].decode("utf-8"), data[:FINGERPRINT].hex()), data[end:]
