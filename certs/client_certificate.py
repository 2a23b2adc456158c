"""The question of a server for a client certificate: noticed on every connection, at no cost where it is not asked."""

from typing import Any

from OpenSSL import SSL

# pyOpenSSL has no public way to the callback that OpenSSL calls when a server has asked (SSL_CTX_set_cert_cb)
_lib, _ffi = vars(SSL)["_lib"], vars(SSL)["_ffi"]
_connections = vars(SSL.Connection)["_reverse_mapping"]


def watch(context: SSL.Context) -> None:
    """Tell the application data of each connection of ``context`` when its server asks.

    OpenSSL asks once the server's own certificate has been judged. The application data needs ``answers``: when that is False,
    a certificate that the context holds stays here, and the handshake ends.
    """
    _lib.SSL_CTX_set_cert_cb(vars(context)["_context"], _asked, _ffi.NULL)


@_ffi.callback("int(SSL *, void *)", error=0)  # type: ignore[untyped-decorator]
def _asked(ssl: Any, _: Any) -> int:
    return 1 if _connections[ssl].get_app_data().answers() else 0
