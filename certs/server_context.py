"""The TLS that clients meet: one context per leaf, so that a second connection parses and checks nothing again."""

from collections.abc import Sequence

from cryptography import x509
from OpenSSL import SSL

from certs.leaf import LeafKey

TLS12_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
"""Forward secrecy and AEAD only (RFC 9325 section 4.2); TLS 1.3 brings nothing else."""
CIPHER_LIST = (":".join(TLS12_CIPHERS) + ":@SECLEVEL=2").encode()
"""Security level 2 refuses RSA and DH below 2048 bits, EC below 224, and SHA-1 in certificates and handshakes."""


def build(certificate: x509.Certificate, key: LeafKey, chain: Sequence[x509.Certificate]) -> SSL.Context:
    """A server's context: TLS 1.2 and 1.3, the leaf and its intermediates, ALPN as each connection allows."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_cipher_list(CIPHER_LIST)
    # an idle connection keeps no record buffers: 34 KB each, 340 MB for 10,000
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # sessions travel in tickets; the library's own table would keep up to 20,480 of them in every context
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    for each in chain:
        context.add_extra_chain_cert(each)
    context.set_alpn_select_callback(select_alpn)
    return context


def select_alpn(connection: SSL.Connection, offered: list[bytes]) -> bytes | SSL._NoOverlappingProtocols:
    """Our first choice that the client offers, out of ``get_app_data()["alpn"]``; none in common: no ALPN is sent.

    A client that offers protocols we do not speak is left to try HTTP/1.1, which is what it would get without ALPN.
    """
    data = connection.get_app_data()
    wanted: Sequence[bytes | str] = data.get("alpn", ()) if isinstance(data, dict) else ()
    for each in wanted:
        protocol = each.encode("ascii") if isinstance(each, str) else each
        if protocol in offered:
            return protocol
    return SSL.NO_OVERLAPPING_PROTOCOLS
