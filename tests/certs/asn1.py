"""Enough DER (X.690) to take a certificate apart, change what no library would write, and sign it again."""

from collections.abc import Callable

SEQUENCE, INTEGER, BIT_STRING, VERSION, EXTENSIONS = 0x30, 0x02, 0x03, 0xA0, 0xA3


def parts(data: bytes) -> list[tuple[int, bytes]]:
    """The (tag, content) pairs that stand one after another in ``data``."""
    found = []
    while data:
        tag, first, offset = data[0], data[1], 2
        length = first
        if first & 0x80:
            offset += first & 0x7F
            length = int.from_bytes(data[2:offset])
        found.append((tag, data[offset : offset + length]))
        data = data[offset + length :]
    return found


def encode(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def resign(certificate: bytes, change: Callable[[list[tuple[int, bytes]]], None], sign: Callable[[bytes], bytes]) -> bytes:
    """The certificate (DER) with the fields of its TBSCertificate changed in place, and a new signature."""
    (_, body) = parts(certificate)[0]
    (_, tbs), algorithm, _signature = parts(body)
    fields = parts(tbs)
    change(fields)
    changed = encode(SEQUENCE, b"".join(encode(*field) for field in fields))
    return encode(SEQUENCE, changed + encode(*algorithm) + encode(BIT_STRING, b"\0" + sign(changed)))


def set_algorithm(certificate: bytes, algorithm: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """The certificate under another AlgorithmIdentifier (the content of its SEQUENCE), inside and outside alike."""
    (_, body) = parts(certificate)[0]
    fields = parts(parts(body)[0][1])
    fields[2] = (SEQUENCE, algorithm)
    changed = encode(SEQUENCE, b"".join(encode(*field) for field in fields))
    return encode(SEQUENCE, changed + encode(SEQUENCE, algorithm) + encode(BIT_STRING, b"\0" + sign(changed)))
