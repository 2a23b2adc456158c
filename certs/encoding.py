"""How a server's certificate was written on the wire: OpenSSL reads more than DER and then forgets how it was written."""

from typing import Any, Final

from OpenSSL import SSL

_CERTIFICATE: Final = 11
_HANDSHAKE: Final = 22
_SEQUENCE: Final = 0x30
_TLS13: Final = 0x0304

# pyOpenSSL has no public way to the callback that OpenSSL calls with each message as it was sent
_lib, _ffi = vars(SSL)["_lib"], vars(SSL)["_ffi"]
_connections = vars(SSL.Connection)["_reverse_mapping"]


def watch(context: SSL.Context) -> None:
    """Have ``misencoded`` of every connection's application data (if it has that) say what is wrong with the leaf's bytes.

    Noted before the chain is verified; costs a microsecond a record. A certificate that the server compressed
    (RFC 8879) is not looked at.
    """
    _lib.SSL_CTX_set_msg_callback(vars(context)["_context"], _on_message)


@_ffi.callback("void(int, int, int, const void *, size_t, SSL *, void *)")  # type: ignore[untyped-decorator]
def _on_message(sent: int, version: int, kind: int, data: Any, length: int, ssl: Any, _argument: Any) -> None:
    # also called for the header of every record: nothing may stand before these conditions
    if sent or kind != _HANDSHAKE or length < 4 or _ffi.cast("unsigned char *", data)[0] != _CERTIFICATE:
        return
    state = _connections[ssl].get_app_data()
    if hasattr(state, "misencoded"):
        state.misencoded = misencoding(bytes(_ffi.buffer(data, length))[4:], version)


def misencoding(message: bytes, version: int) -> str:
    """What is not DER about the envelope of the first certificate in a Certificate message without its header, or "".

    The signature covers what is inside as it was written, so only the outermost length is of interest: an octet more,
    or no length at all (X.690 section 10.1), makes two files of one certificate. Lists that OpenSSL cannot read
    end the handshake by themselves. RFC 8446 section 4.4.2, RFC 5246 section 7.4.2.
    """
    start = 1 + message[0] + 3 if version == _TLS13 and message else 3
    leaf = message[start + 3 : start + 3 + int.from_bytes(message[start : start + 3])]
    if not leaf:
        return ""
    return "" if _is_der_sequence(leaf) else "the certificate is not written in DER: its outer length is not the shortest"


def _is_der_sequence(data: bytes) -> bool:
    if len(data) < 2 or data[0] != _SEQUENCE:
        return False
    first = data[1]
    if first < 0x80:
        return len(data) == 2 + first
    octets = first & 0x7F
    length = int.from_bytes(data[2 : 2 + octets])
    return length >= 0x80 and octets == (length.bit_length() + 7) // 8 and len(data) == 2 + octets + length
