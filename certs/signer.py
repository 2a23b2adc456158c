"""The seam between the traffic path, which wants leaves, and whatever holds the key of a CA.

Three stand behind it: ``certs.mint.Mint``, with the keys in its own memory; ``certs.signing.client.SignerClient``, which
asks the one process that has them; and ``certs.tiers.SharedLeaves``, which looks whether another node has made the leaf.
"""

from typing import Protocol

from certs.issued import Issued
from certs.profile import LeafProfile
from certs.scope import Scope


class Signer(Protocol):
    async def leaf(self, scope: Scope, profile: LeafProfile) -> Issued:
        """A leaf for this tenant by this authority, and its key. Equal questions may get the same leaf.

        Raises:
            InternalError: with ``signer_unavailable`` when nobody answers in time, else when the authority cannot sign it.
        """
