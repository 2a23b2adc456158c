"""Where a policy sends people: URLs from the configuration only, with the reason word added."""

import re
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from appliance.domain.target import Target, normalise_host

_URL: Final = re.compile(r"https?://[!-~]+\Z", re.IGNORECASE)
_PORTS: Final = {"http": 80, "https": 443}


def is_safe(url: str) -> bool:
    """Whether ``url`` can stand in a Location field: http or https, printable ASCII, so neither CR, LF nor space."""
    return _URL.match(url) is not None


def destination(url: str) -> Target:
    """Where a browser goes for ``url``.

    Raises:
        ValueError: not an absolute http or https URL in printable ASCII, with user information, or without a proper host.
    """
    if not is_safe(url) or "\\" in url:
        # Browsers read a backslash as a slash: http://a\@b goes to a, other parsers go to b.
        raise ValueError(f"not an http or https URL in printable ASCII: {url!r}")
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError(f"user information in a URL: {url!r}")
    return Target(normalise_host(parts.netloc.removesuffix(f":{parts.port}")), parts.port or _PORTS[parts.scheme])


def with_reason(url: str, reason: str, policy: str) -> str:
    """``url`` with ``reason`` and ``policy`` added to its query. Nothing of the request is ever added."""
    parts = urlsplit(url)
    added = urlencode({"reason": reason, "policy": policy})
    return urlunsplit(parts._replace(query=f"{parts.query}&{added}" if parts.query else added))
