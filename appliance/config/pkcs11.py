"""A CA's key in a token: ``ca[].pkcs11``."""

from pydantic import Field

from appliance.config.values import FilePath, Node


class Pkcs11(Node):
    """The key of this CA is in a PKCS #11 token: an HSM, or SoftHSM. Only the signer opens it; the key never leaves it."""

    module: FilePath
    """The vendor's library, such as ``/usr/lib/softhsm/libsofthsm2.so``."""
    token: str = Field(min_length=1, max_length=32)
    """The token's label."""
    label: str = Field(min_length=1, max_length=128)
    """The label of the private key, and of the public key beside it. It must not be extractable."""
    pin_file: FilePath
    """A file, mode 0600, whose first line is the user PIN."""
    environment: dict[str, str] = {}
    """Variables that the library reads, such as ``SOFTHSM2_CONF``."""
