"""Values as people write them: ``30s``, ``100M``, ``127.0.0.1:8080``, ``10.0.0.0/8``, ``.example.com``."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from appliance.domain.hostlist import host_entry
from appliance.domain.target import Target, normalise_host, parse_authority, parse_port

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h|d)\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([KMGT]?)i?B?\Z", re.IGNORECASE | re.ASCII)
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)\s*%\Z")
_ICAP_UNIX = re.compile(r"icap\+unix://(?:/[!-9;-~]+)+:/[!\"$-~]+")
_POWER = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


class Node(BaseModel):
    """Base of every configuration model: an unknown key is an error, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _number(value: Any, what: str, hint: str) -> Any:
    """A bare number; YAML's ``true`` is none, although Python counts with it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"not {what}: {value!r} ({hint})")
    return value


def parse_duration(value: Any) -> Any:
    """Seconds. A bare number is seconds, too."""
    if not isinstance(value, str):
        return _number(value, "a duration", "write 500ms, 30s, 5m, 2h or 1d")
    match = _DURATION.match(value.strip())
    if not match:
        raise ValueError(f"not a duration: {value!r} (write 500ms, 30s, 5m, 2h or 1d)")
    return float(match[1]) * _SECONDS[match[2]]


def parse_size(value: Any) -> Any:
    """Bytes, in powers of 1024."""
    if not isinstance(value, str):
        return _number(value, "a size", "write 512, 64K, 100M or 2G")
    match = _SIZE.match(value.strip())
    if not match:
        raise ValueError(f"not a size: {value!r} (write 512, 64K, 100M or 2G)")
    return int(float(match[1]) * 1024 ** _POWER[match[2].upper()])


def parse_share(value: Any) -> Any:
    """``25%`` as 0.25. A bare number could be either."""
    if isinstance(value, float) and 0.0 <= value <= 1.0:
        return value  # a default
    match = _SHARE.match(value.strip()) if isinstance(value, str) else None
    if not match or float(match[1]) > 100:
        raise ValueError(f"not a share: {value!r} (write 25%, or 0.5%)")
    return float(match[1]) / 100


def parse_address(value: Any) -> Any:
    """``127.0.0.1:8080``, ``[::]:8080`` or ``host:8080``; port 0 takes a free one."""
    if isinstance(value, Target):
        return value
    if not isinstance(value, str):
        raise ValueError(f"not an address: {value!r} (write 127.0.0.1:8080 or [::]:8080)")
    host, _, port = value.rpartition(":")
    if not host:
        raise ValueError(f"not an address: {value!r} (write 127.0.0.1:8080 or [::]:8080)")
    try:
        return Target(normalise_host(host), 0 if port == "0" else parse_port(port))
    except ValueError as error:
        raise ValueError(f"not an address: {value!r} ({error})") from None


def parse_network(value: Any) -> Any:
    """``10.0.0.0/8``, ``2001:db8::/32``, or one address. A number is none, although ipaddress would take it."""
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    if not isinstance(value, str):
        raise ValueError(f"not a network: {value!r} (write 10.0.0.0/8)")
    try:
        return ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f"not a network: {value!r} ({error})") from None


def parse_domain(value: str) -> str:
    """A host, or ``.suffix`` (also ``*.suffix``) for a name and everything below it."""
    return host_entry(value)


def absolute_path(value: Path, info: ValidationInfo) -> Path:
    """A relative path is taken from ``base`` of the validation context: the configuration file's folder."""
    text = str(value)
    if not text.strip() or text == "." or not text.isprintable():
        raise ValueError(f"not a path: {text!r}")
    base = info.context.get("base") if isinstance(info.context, dict) else None
    # not resolved: a symbolic link in the path is the operator's, and may point elsewhere at the next start
    return base / value if isinstance(base, Path) else value


def check_url(value: str) -> str:
    """An http or https URL that people can be sent to, or nothing. Browsers read a backslash as a slash, others do not."""
    if not value:
        return value
    if not re.fullmatch(r"https?://[!-\[\]-~]+", value, re.IGNORECASE) or "@" in urlsplit(value).netloc:
        raise ValueError(f"not an http or https URL without user information: {value!r}")
    parse_authority(urlsplit(value).netloc, 80)
    return value


def check_icap_uri(value: str) -> str:
    """``icap://host[:port]/service``, ``icaps:``, or ``icap+unix:///path/to/socket:/service``."""
    if value.startswith("icap+unix:") and _ICAP_UNIX.fullmatch(value):
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("icap", "icaps") or not parts.path.strip("/") or "@" in parts.netloc or not value.isprintable():
        raise ValueError(f"not an ICAP URI: {value!r} (write icap://host:1344/service)")
    parse_authority(parts.netloc, 1344)
    return value


def check_proxy(value: str) -> str:
    """``host:port``, or the same after ``http://``, ``https://`` or ``socks5://``; the host in its normal form."""
    scheme, mark, rest = value.rpartition("://")
    if (mark and scheme not in ("http", "https", "socks5")) or "/" in rest:
        raise ValueError(f"not a proxy: {value!r} (write host:8080, https://host:8443 or socks5://host:1080)")
    return f"{scheme or 'http'}://{parse_authority(rest)}"


def check_host_port(value: str) -> str:
    """``host:port`` as text."""
    parse_authority(value)
    return value


def compile_regex(value: str) -> str:
    """A pattern that compiles and has no nested unbounded repeats (which take exponential time)."""
    from appliance.domain.hostmatch import check_pattern

    check_pattern(value)
    return value


Seconds = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]
Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
Share = Annotated[float, BeforeValidator(parse_share)]
Address = Annotated[Target, BeforeValidator(parse_address)]
Network = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(parse_network)]
Host = Annotated[str, AfterValidator(normalise_host)]
Domain = Annotated[str, AfterValidator(parse_domain)]
Regex = Annotated[str, AfterValidator(compile_regex)]
Url = Annotated[str, AfterValidator(check_url)]
IcapUri = Annotated[str, AfterValidator(check_icap_uri)]
ProxyAddress = Annotated[str, AfterValidator(check_proxy)]
HostPort = Annotated[str, AfterValidator(check_host_port)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
FilePath = Annotated[Path, AfterValidator(absolute_path)]
"""A path; a relative one is taken from the configuration file's folder (config.load makes it absolute)."""


class Listen(Node):
    """Where a listener listens."""

    address: Address
    """``127.0.0.1:8080``, ``[::]:8080`` for IPv6 and IPv4, port 0 for any free one."""
    backlog: int = Field(1024, ge=1, le=65535)
    """Connections the kernel holds until they are accepted."""
