"""TLS to the proxy itself, for listeners that are spoken to by HTTPS."""

import ssl

from appliance.config.server import HttpProxy, Server


def listener_tls(server: Server) -> ssl.SSLContext | None:
    """Mozilla's intermediate profile, HTTP/1.1 only; None for a listener without TLS of its own."""
    if not isinstance(server, HttpProxy) or server.tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if server.tls.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(server.tls.certificate, server.tls.private_key)
    return context
