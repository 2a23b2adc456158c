"""AUD-04: JA3 and JA4 against published values, from ClientHellos put together here."""

import struct

import pytest

from appliance.domain.facts import HelloFacts
from appliance.engine.clienthello import parse_client_hello

CHROME_CIPHERS = (
    0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C, 0x009D, 0x002F, 0x0035,
)  # fmt: skip
CHROME_EXTENSIONS = (
    0x001B, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002D, 0x000D, 0x0005, 0x0023, 0x0012, 0x002B, 0xFF01, 0x000B, 0x000A,
    0x0015,
)  # fmt: skip
CHROME_SIGNATURES = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)
GREASE = (0x0A0A, 0x8A8A, 0xFAFA)


def vector(data: bytes, size: int) -> bytes:
    return len(data).to_bytes(size) + data


def u16s(*values: int) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


def hello(ciphers: tuple[int, ...], extensions: dict[int, bytes] | None, version: int = 0x0303) -> HelloFacts:
    body = version.to_bytes(2) + bytes(32) + vector(b"", 1) + vector(u16s(*ciphers), 2) + vector(b"\0", 1)
    if extensions is not None:
        body += vector(b"".join(kind.to_bytes(2) + vector(data, 2) for kind, data in extensions.items()), 2)
    message = b"\x01" + vector(body, 3)
    facts = parse_client_hello(b"\x16\x03\x01" + vector(message, 2), 65_536)
    assert facts is not None
    return facts


def chrome(alpn: bytes = b"h2", grease: bool = True, **changes: bytes) -> HelloFacts:
    """The example of the JA4 specification, with GREASE in every list that can have it (RFC 8701)."""
    before = GREASE[:1] if grease else ()
    known = {
        0x0000: vector(b"\0" + vector(b"example.com", 2), 2),
        0x0010: vector(vector(alpn, 1), 2) if alpn else vector(b"", 2),
        0x000D: vector(u16s(*before, *CHROME_SIGNATURES), 2),
        0x002B: vector(u16s(*before, 0x0304, 0x0303), 1),
        0x000A: vector(u16s(*before, 0x001D, 0x0017, 0x0018), 2),
        0x000B: vector(b"\0", 1),
    }
    kinds = (*GREASE[1:2], *CHROME_EXTENSIONS, *GREASE[2:]) if grease else CHROME_EXTENSIONS
    return hello((*before, *CHROME_CIPHERS), {kind: known.get(kind, b"") for kind in kinds})


@pytest.mark.parametrize("grease", [True, False])
def test_aud_04_ja4_of_the_specification_s_example(grease: bool) -> None:
    assert chrome(grease=grease).ja4 == "t13d1516h2_8daaf6152771_e5627efa2ab1"


@pytest.mark.parametrize(
    ("alpn", "ends"),
    [
        (b"", "00"),
        (b"h", "hh"),
        (b"http/1.1", "h1"),
        (b"\xab", "ab"),
        (b"\xab\xcd", "ad"),
        (b"\x30\xab", "3b"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
    ],
)
def test_aud_04_ja4_of_odd_protocol_names(alpn: bytes, ends: str) -> None:
    """The examples of the specification's section on ALPN."""
    assert chrome(alpn).ja4.partition("_")[0] == f"t13d1516{ends}"


def test_aud_04_ja4_without_signature_algorithms() -> None:
    """The specification's example for it: the extensions alone are hashed."""
    kinds = {kind: b"" for kind in CHROME_EXTENSIONS if kind not in (0x0000, 0x0010)}
    facts = hello(CHROME_CIPHERS, kinds | {0x000D: b"", 0x002B: vector(u16s(0x0304), 1)})
    assert facts.ja4 == "t13i151400_8daaf6152771_6d807ffa2a79"


@pytest.mark.parametrize(("version", "word"), [(0x0303, "12"), (0x0302, "11"), (0x0301, "10"), (0x0300, "s3"), (0x0299, "00")])
def test_aud_04_ja4_version_without_the_extension(version: int, word: str) -> None:
    facts = hello((0x002F,), None, version)
    assert facts.ja4.startswith(f"t{word}i010000_")
    assert facts.ja4.endswith("_000000000000")


def test_aud_04_ja4_counts_stop_at_99() -> None:
    facts = hello(tuple(range(1, 151)), dict.fromkeys(range(20480, 20480 + 120), b""))
    assert facts.ja4.partition("_")[0] == "t12i999900"


def test_aud_04_ja3_of_the_published_examples() -> None:
    """Both examples of JA3's own description, the second without extensions."""
    ciphers = (47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4)
    extensions = {0: vector(b"\0" + vector(b"example.com", 2), 2), 10: vector(u16s(23, 24, 25), 2), 11: vector(b"\0", 1)}
    assert hello(ciphers, extensions, 769).ja3 == "ada70206e40642a3e4461f35503241d5"
    assert hello((4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99), None, 769).ja3 == "de350869b8c85de67a350c8d186f11e6"
