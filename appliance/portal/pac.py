"""Proxy auto-configuration: a JavaScript function that browsers ask for every URL.

Everything from the configuration goes into it as JSON, so no host name can end a string and become code. Addresses are
compared in the function itself: ``isInNet`` would look every name up in DNS first, and wait for it.
"""

import ipaddress
import json
from collections.abc import Sequence
from typing import Any, Final

from appliance.config.portal import Pac
from appliance.domain.target import IPNetwork, Target

CONTENT_TYPE: Final = "application/x-ns-proxy-autoconfig"

_WORDS: Final = {"http": "PROXY", "https": "HTTPS", "socks5": "SOCKS5"}
_LOOPBACK: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))

_FUNCTION: Final = """
function FindProxyForURL(url, host) {
  host = String(host).toLowerCase().replace(/^\\[|\\]$/g, "").replace(/\\.$/, "");
  if (has(own, host)) return proxies;
  var address = host.indexOf(":") >= 0 ? groups6(host) : groups4(host);
  if (address) return within(address) ? "DIRECT" : proxies;
  if (host === "localhost" || (plainNamesDirect && host.indexOf(".") < 0)) return "DIRECT";
  if (has(names, host)) return "DIRECT";
  for (var at = -1; (at = host.indexOf(".", at + 1)) >= 0;) {
    if (has(suffixes, host.substring(at + 1))) return "DIRECT";
  }
  return has(suffixes, host) ? "DIRECT" : proxies;
}

function has(table, name) {
  return Object.prototype.hasOwnProperty.call(table, name);
}

// An IPv4 address as two groups of 16 bits; null for a name.
function groups4(host) {
  var parts = /^(\\d{1,3})\\.(\\d{1,3})\\.(\\d{1,3})\\.(\\d{1,3})$/.exec(host);
  if (!parts) return null;
  return [parts[1] * 256 + +parts[2], parts[3] * 256 + +parts[4]];
}

// An IPv6 address as eight groups of 16 bits; null for what is none.
function groups6(host) {
  var halves = host.split("%")[0].split("::");
  if (halves.length > 2) return null;
  var head = halves[0] ? halves[0].split(":") : [];
  var tail = halves.length === 2 && halves[1] ? halves[1].split(":") : [];
  while (halves.length === 2 && head.length + tail.length < 8) head.push("0");
  var all = head.concat(tail), found = [];
  for (var i = 0; i < all.length; i++) {
    if (!/^[0-9a-f]{1,4}$/.test(all[i])) return null;
    found.push(parseInt(all[i], 16));
  }
  return found.length === 8 ? found : null;
}

function within(address) {
  for (var i = 0; i < networks.length; i++) {
    var network = networks[i][0], bits = networks[i][1], same = network.length === address.length;
    for (var j = 0; same && j < network.length && bits > 0; j++, bits -= 16) {
      var shift = bits < 16 ? 16 - bits : 0;
      same = (network[j] >> shift) === (address[j] >> shift);
    }
    if (same) return true;
  }
  return false;
}
"""


def pac(config: Pac, listener: str, own_names: Sequence[str]) -> bytes:
    """The file. ``listener`` stands in where no proxies are configured, as ``https://host:port`` and the like, empty for a
    transparent one: such clients need no proxy. ``own_names`` always go through the proxy, being nowhere else."""
    addresses = config.proxies or ([listener] if listener else [])
    values = {
        "proxies": _proxies(addresses, config.fallback_direct),
        "own": dict.fromkeys(own_names, 1),
        "names": {name: 1 for name in config.direct_hosts if not name.startswith(".")},
        "suffixes": {name[1:]: 1 for name in config.direct_hosts if name.startswith(".")},
        "networks": [_network(network) for network in (*_LOOPBACK, *config.direct_networks)],
        "plainNamesDirect": config.plain_names_direct,
    }
    lines = [f"var {name} = {_json(value)};" for name, value in values.items()]
    return ("\n".join(lines) + "\n" + _FUNCTION).encode("ascii")


def _proxies(addresses: Sequence[str], fallback_direct: bool) -> str:
    """``PROXY a:8080; PROXY b:8080``. Old clients know SOCKS5 as SOCKS."""
    words: list[str] = []
    for address in addresses:
        scheme, _, authority = address.partition("://")
        words.append(f"{_WORDS[scheme]} {authority}")
        if scheme == "socks5":
            words.append(f"SOCKS {authority}")
    if fallback_direct or not addresses:
        words.append("DIRECT")
    return "; ".join(words)


def listener_address(listener: Target, scheme: str) -> str:
    """The listener that a client came through, as a proxy: ``http``, ``https`` or ``socks5``."""
    return f"{scheme}://{listener}"


def _network(network: IPNetwork) -> list[Any]:
    packed = network.network_address.packed
    groups = [int.from_bytes(packed[at : at + 2]) for at in range(0, len(packed), 2)]
    return [groups, network.prefixlen]


def _json(value: Any) -> str:
    # "<": nothing in the file may be taken for markup, should a client look at it as that
    return json.dumps(value).replace("<", "\\u003c")
