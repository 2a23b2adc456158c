"""Which service a message goes to: the auditor's ``icap_rules``."""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, model_validator

from appliance.config.values import Domain, Name, Node, Size

NOT_SCANNED: Final = "none"
"""In place of a service's name."""

_WORD: Final = "[a-z0-9!#$&^_.+-]+"
_CONTENT_TYPE: Final = re.compile(rf"{_WORD}/(\*|{_WORD})")


def check_content_type(value: str) -> str:
    """``text/html`` or ``text/*``, in lower case."""
    if not _CONTENT_TYPE.fullmatch(value.lower()):
        raise ValueError(f"not a content type: {value[:64]!r} (write text/html, or image/*)")
    return value.lower()


def check_http_method(value: str) -> str:
    """Methods are case-sensitive (RFC 9110 section 9.1), and all that exist are upper case."""
    if not re.fullmatch("[A-Z]{1,32}", value):
        raise ValueError(f"not an HTTP method: {value[:64]!r} (write GET)")
    return value


ContentType = Annotated[str, AfterValidator(check_content_type)]
HttpMethod = Annotated[str, AfterValidator(check_http_method)]


class IcapRule(Node):
    """All conditions given must hold; the first rule that matches decides. For what is not known (the length of a message that
    does not state it), a condition holds in a rule that scans, and does not hold in one that does not."""

    name: Name
    """Stands in the audit record when the message is not scanned."""
    use: Name
    """A service, set or chain; ``none``: the message passes without a scan, and the record says so."""
    direction: Literal["request", "response"] | None = None
    """Only requests, or only responses."""
    methods: list[HttpMethod] = []
    """HTTP methods: of the request, also for its response."""
    hosts: list[Domain] = []
    """Hosts of the URL: `host` or `.suffix`."""
    host_lists: list[Name] = []
    """Names of host lists; a host in one of them, or in ``hosts``, is enough."""
    content_types: list[ContentType] = []
    """`text/html`, or `image/*`. It is what the sender states, and need not be true."""
    larger_than: Size | None = None
    """Bytes that the body has more than, by its Content-Length."""
    smaller_than: Size | None = None
    """Bytes that the body has less than."""

    @property
    def scans(self) -> bool:
        return self.use != NOT_SCANNED

    @property
    def unconditional(self) -> bool:
        """Whether it matches every message of its direction."""
        given = (self.methods, self.hosts, self.host_lists, self.content_types)
        return not any(given) and self.larger_than is None and self.smaller_than is None

    def serves(self, direction: str) -> bool:
        return self.direction in (None, direction)

    @model_validator(mode="after")
    def _sizes(self) -> "IcapRule":
        if self.larger_than is not None and self.smaller_than is not None and self.larger_than + 1 >= self.smaller_than:
            raise ValueError("no size is larger_than and smaller_than at once")
        return self
