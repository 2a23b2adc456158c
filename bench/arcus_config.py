"""The appliance's configuration for every bench: one frame, and what each of them adds to it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.handshakes import cold_name
from bench.topology import CLIENT

COLD = 10_000
"""Names that can be asked for but once; each is one leaf."""
TENANT = {"tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "direct"}

_POLICIES = [
    {"name": "no-games", "config": {"hosts": {"child": ["games.test", "play.test"]}, "reason": "No games."}},
    {"name": "no-admin", "config": {"path_regex": ["^/admin/.*"], "reason": "Internal."}},
    {"name": "no-writes", "level": "user", "config": {"hosts": {"exact": ["archive.test"]}, "methods": ["PUT", "DELETE"]}},
    {"name": "no-ads", "level": "site", "policy_type": "site", "config": {"hosts": {"regex": ["ads[0-9]+[.].*"]}}},
]
_TRANSPARENT = {
    "name": "transparent", "type": "tcp_tproxy", "max_connections": 20_000, "timeouts": {"client_idle": 600},
    # one address stands for a thousand clients here
    "limits": {"connections_per_client": 20_000, "h2_streams_per_second": 1_000_000, "h2_frames_per_second": 1_000_000},
}  # fmt: skip


def frame(
    state: Path,
    hosts: Mapping[str, str],
    networks: Sequence[str],
    interception: Mapping[str, Any],
    server: Mapping[str, Any],
    admin: int,
    workers: int = 1,
) -> dict[str, Any]:
    """``hosts``: addresses by name. ``networks``: where servers may be. ``admin``: its port."""
    local = {"name": "local", "type": "system", "hosts": {host: [address] for host, address in hosts.items()}}
    direct = {"name": "direct", "type": "direct_fixed", "resolver": "local"}
    return {
        "state_dir": str(state), "workers": workers, "log": {"level": "warning"}, "ca": [{"name": "default"}],
        "resolver": [local], "escaper": [direct | {"egress_network_filter": {"allow": list(networks)}}],
        "auditor": [{"name": "inspect", "tls_interception": dict(interception)}], "tenant": [TENANT],
        "server": [dict(server)], "admin": {"listen": {"address": f"127.0.0.1:{admin}"}},
    }  # fmt: skip


def spelled(document: Mapping[str, Any]) -> str:
    """For a file: JSON is YAML, too."""
    return json.dumps(document, indent=1)


def text(
    folder: Path, number: int, workers: int, origin_ca: Path, hosts: dict[str, str], clamd: Path | None, *,
    kept: bool = False, fresh: bool = False,
) -> str:  # fmt: skip
    """``number`` keeps the ports of several instances apart: 8200 + number is the listener. ``kept``: verdicts are.
    ``fresh``: connections to servers are not."""
    own = f"arcus-{number}.test"
    cold = {cold_name(own, index): hosts[own] for index in range(COLD)} if own in hosts else {}
    listener = _TRANSPARENT | {"listen": {"address": f"0.0.0.0:{8200 + number}"}}
    interception: dict[str, Any] = {"upstream_trust": {"ca_files": [str(origin_ca)]}}
    if fresh:
        interception["kept_connections"] = {"enabled": False}
    document = frame(folder / "state", hosts | cold, ["10.99.1.0/24"], interception, listener, 9090 + number, workers)
    document["tenant"] = [
        TENANT | {"tenant_id": "bench", "match": {"networks": [f"{CLIENT}/32"]}, "policies": _POLICIES},
        TENANT,
    ]
    return spelled(_scanned(document, f"127.0.0.1:{1340 + number}", clamd, kept=kept) if clamd else document)


def _scanned(document: dict[str, Any], address: str, clamd: Path, *, kept: bool) -> dict[str, Any]:
    [auditor] = document["auditor"]
    services = {f"icap_{way}_service": f"icap://{address}/{way}" for way in ("reqmod", "respmod")}
    own = {"listen": {"address": address}, "in_workers": True, "scanner": {"type": "clamd", "socket": str(clamd)}}
    fresh = {} if kept else {"verdict_cache": {"enabled": False}}
    return document | fresh | {"auditor": [auditor | services], "icap_server": own}
