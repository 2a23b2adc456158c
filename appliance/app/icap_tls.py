"""TLS of our ICAP server, from the configuration."""

import ssl

from appliance.config.icap_listen import IcapTlsListen


def of_listener(node: IcapTlsListen) -> ssl.SSLContext:
    """Raises OSError when a file has become unusable since it was checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if node.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.load_cert_chain(node.certificate, node.private_key)
    if node.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(node.client_ca)
    return context
