"""A configuration profile for Apple's systems, with certificates and nothing else."""

import plistlib
import uuid
from collections.abc import Sequence
from typing import Any, Final

from appliance.portal.anchor import Anchor

CONTENT_TYPE: Final = "application/x-apple-aspen-config"
_NAMESPACE: Final = uuid.UUID("6f0c7c5e-5a3e-5d0b-9b0e-2f6d8d1b7a41")


def mobileconfig(identity: str, organisation: str, anchors: Sequence[Anchor]) -> bytes:
    """The profile. Its UUIDs follow from ``identity`` (one per portal and tenant) and the fingerprints: the same certificates
    give the same bytes, and a profile with new ones replaces the old one on a device instead of standing beside it."""
    identifier = f"{identity}.ca"
    profile = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": identifier,
        "PayloadUUID": _uuid(identifier),
        "PayloadDisplayName": f"{organisation}: inspection certificate",
        "PayloadOrganization": organisation,
        "PayloadDescription": "Lets this device trust the certificate of the gateway that inspects encrypted traffic.",
        "PayloadRemovalDisallowed": False,
        "PayloadContent": [_payload(identifier, anchor) for anchor in anchors],
    }
    return plistlib.dumps(profile, sort_keys=True)


def _payload(identifier: str, anchor: Anchor) -> dict[str, Any]:
    own = f"{identifier}.{anchor.sha256.replace(':', '')[:16].lower()}"
    return {
        # a root is trusted by its own payload type; what another CA has signed is added as an intermediate
        "PayloadType": "com.apple.security.root" if anchor.root else "com.apple.security.pkcs1",
        "PayloadVersion": 1,
        "PayloadIdentifier": own,
        "PayloadUUID": _uuid(f"{own}.{anchor.sha256}"),
        "PayloadDisplayName": anchor.common_name,
        "PayloadCertificateFileName": f"{anchor.name}.cer",
        "PayloadContent": anchor.der,
    }


def _uuid(text: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, text)).upper()
