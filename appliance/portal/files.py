"""The files of a tenant's CAs, by name: the same through the proxy and on the admin listener."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from appliance.config.portal import Pac
from appliance.domain.ids import TenantId
from appliance.portal.anchor import STEM, Anchor, stem
from appliance.portal.mobileconfig import CONTENT_TYPE, mobileconfig

MAX_ANCHORS: Final = 4
"""More CAs of one tenant than in any rotation."""
PROFILE: Final = f"{STEM}.mobileconfig"
_FORMS: Final = {
    "pem": "application/x-pem-file",
    "cer": "application/x-x509-ca-cert",
    "der": "application/x-x509-ca-cert",
    "p12": "application/x-pkcs12",
}


@dataclass(frozen=True, slots=True)
class Household:
    """What the portal has for one tenant. ``anchors`` gives its CAs, the one that signs now first; ``title`` is its name."""

    tenant: TenantId
    title: str
    anchors: Callable[[], Sequence[Anchor]]
    pac: Pac = field(default_factory=Pac)
    contact: str = ""

    def offered(self) -> Sequence[Anchor]:
        return self.anchors()[:MAX_ANCHORS]


@dataclass(frozen=True, slots=True)
class File:
    """``inline``: Firefox asks at once whether to trust what it gets as this type; other clients save it all the same."""

    name: str
    content_type: str
    body: bytes
    inline: bool = False

    @property
    def disposition(self) -> str:
        """The value of Content-Disposition."""
        return f'{"inline" if self.inline else "attachment"}; filename="{self.name}"'


def names() -> Iterator[str]:
    """Every name that a file can have."""
    yield PROFILE
    for number in range(MAX_ANCHORS):
        yield from (f"{stem(number)}.{form}" for form in _FORMS)


def find(home: Household, portal: str, name: str) -> File | None:
    """The file of this name; None when there is none. ``portal`` is the fixed name: it makes the profile's identity."""
    anchors = home.offered()
    if name == PROFILE and anchors:
        return File(name, CONTENT_TYPE, mobileconfig(f"{portal}.{home.tenant}", home.title, anchors))
    for number, anchor in enumerate(anchors):
        head, _, form = name.rpartition(".")
        if head == stem(number) and form in _FORMS:
            return File(name, _FORMS[form], getattr(anchor, "der" if form == "cer" else form), form == "cer")
    return None
