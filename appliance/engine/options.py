"""The options that mitmproxy's layers read, as plain attributes.

mitmproxy's own option manager looks a name up through two dictionaries and a type check at every access; the layers
read some of these for every message. ``tests/appliance/engine/test_contract.py`` holds this list against the layers' source.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayerOptions:
    tcp_timeout: int = 3600
    connection_strategy: str = "eager"
    validate_inbound_headers: bool = False
    """Our strict layer judges every message before a flow exists."""
    stream_large_bodies: str | None = None
    body_size_limit: str | None = None
    store_streamed_bodies: bool = False
    websocket: bool = True
    rawtcp: bool = False
    http2: bool = True
    http2_ping_keepalive: int = 0
    http_connect_send_host_header: bool = True
    normalize_outbound_headers: bool = False
    proxy_debug: bool = False
    keep_host_header: bool = True
    show_ignored_hosts: bool = False


EAGER = LayerOptions()
LAZY = LayerOptions(connection_strategy="lazy")
