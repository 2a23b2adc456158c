"""The appliance's configuration for the bench."""

from pathlib import Path

from bench.handshakes import cold_name
from bench.topology import CLIENT

COLD = 10_000
"""Names that can be asked for but once; each is one leaf."""

_TEXT = """\
state_dir: {state}
workers: {workers}
log: {{level: warning}}

ca:
  - name: default

resolver:
  - name: local
    type: system
    hosts: {{{hosts}}}

escaper:
  - name: direct
    type: direct_fixed
    resolver: local
    egress_network_filter: {{allow: ["10.99.1.0/24"]}}

auditor:
  - name: inspect
    tls_interception: {{upstream_trust: {{ca_files: ["{origin_ca}"]}}}}
{icap}
tenant:
  - tenant_id: bench
    match: {{networks: ["{client}/32"]}}
    ca: default
    auditor: inspect
    escaper: direct
    policies:
      - {{name: no-games, config: {{hosts: {{child: [games.test, play.test]}}, reason: "No games."}}}}
      - {{name: no-admin, config: {{path_regex: ["^/admin/.*"], reason: "Internal."}}}}
      - {{name: no-writes, level: user, config: {{hosts: {{exact: [archive.test]}}, methods: [PUT, DELETE]}}}}
      - {{name: no-ads, level: site, policy_type: site, config: {{hosts: {{regex: ["ads[0-9]+[.].*"]}}}}}}
  - tenant_id: default
    ca: default
    auditor: inspect
    escaper: direct

server:
  - name: transparent
    type: tcp_tproxy
    listen: {{address: "0.0.0.0:{port}"}}
    max_connections: 20000
    # one address stands for a thousand clients here
    limits: {{connections_per_client: 20000, h2_streams_per_second: 1000000, h2_frames_per_second: 1000000}}
    timeouts: {{client_idle: 600}}
{icap_server}
admin:
  listen: {{address: "127.0.0.1:{admin}"}}
"""

_SERVICES = """\
    icap_reqmod_service: "icap://127.0.0.1:{icap}/reqmod"
    icap_respmod_service: "icap://127.0.0.1:{icap}/respmod"
"""

_SERVER = """
{kept}icap_server:
  listen: {{address: "127.0.0.1:{icap}"}}
  scanner: {{type: clamd, socket: "{socket}"}}
"""


def text(
    folder: Path, number: int, workers: int, origin_ca: Path, hosts: dict[str, str], clamd: Path | None, *, kept: bool = False
) -> str:
    """``number`` keeps the ports of several instances apart: 8200 + number is the listener. ``kept``: verdicts are."""
    values = {"icap": 1340 + number, "socket": clamd, "kept": "" if kept else "verdict_cache: null\n"}
    own = f"arcus-{number}.test"
    cold = {cold_name(own, index): hosts[own] for index in range(COLD)} if own in hosts else {}
    return _TEXT.format(
        state=folder / "state",
        workers=workers,
        hosts=", ".join(f'{host}: ["{address}"]' for host, address in (hosts | cold).items()),
        origin_ca=origin_ca,
        client=CLIENT,
        port=8200 + number,
        admin=9090 + number,
        icap=_SERVICES.format(**values) if clamd else "",
        icap_server=_SERVER.format(**values) if clamd else "",
    )
