"""What a file is, by its first bytes.

A table of our own: a rule that refuses needs one answer, always the same, from the head of a stream. The libraries at hand
guess: they weigh footers and extensions, want the whole file or a path, and call an empty ZIP a document. What is not in the
table is ``unknown``, or ``text`` where it has no control characters.
"""

import re
from dataclasses import dataclass
from typing import Final

HEAD: Final = 36 * 1024
"""Bytes that are looked at: the mark of an ISO image lies behind 32 KiB."""


@dataclass(frozen=True, slots=True)
class TrueType:
    name: str
    classes: frozenset[str]

    def matches(self, wanted: frozenset[str]) -> bool:
        """Whether a rule that names types or classes means this one."""
        return self.name in wanted or not self.classes.isdisjoint(wanted)


def _type(name: str, *classes: str) -> TrueType:
    return TrueType(name, frozenset(classes))


EMPTY: Final = _type("empty")
UNKNOWN: Final = _type("unknown")
TEXT: Final = _type("text", "text")
ZIP: Final = _type("zip", "archive")
OLE: Final = _type("ole", "office")
GZIP: Final = _type("gzip", "archive")

_MARKS: Final[tuple[tuple[int, bytes, TrueType], ...]] = (
    (0, b"\x7fELF", _type("elf", "executable")),
    (0, b"\xfe\xed\xfa\xce", _type("macho", "executable")),
    (0, b"\xfe\xed\xfa\xcf", _type("macho", "executable")),
    (0, b"\xce\xfa\xed\xfe", _type("macho", "executable")),
    (0, b"\xcf\xfa\xed\xfe", _type("macho", "executable")),
    (0, b"dex\n0", _type("dex", "executable")),
    (0, b"\0asm", _type("wasm", "executable")),
    (0, b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F", _type("lnk", "executable")),
    (0, b"PK\x03\x04", ZIP),
    (0, b"PK\x05\x06", ZIP),
    (0, b"PK\x07\x08", ZIP),
    (0, b"Rar!\x1a\x07", _type("rar", "archive")),
    (0, b"7z\xbc\xaf\x27\x1c", _type("7z", "archive")),
    (0, b"\x1f\x8b", GZIP),
    (0, b"\xfd7zXZ\0", _type("xz", "archive")),
    (0, b"\x28\xb5\x2f\xfd", _type("zstd", "archive")),
    (0, b"\x04\x22\x4d\x18", _type("lz4", "archive")),
    (0, b"MSCF", _type("cab", "archive")),
    (0, b"!<arch>\n", _type("ar", "archive")),
    (0, b"\xed\xab\xee\xdb", _type("rpm", "archive")),
    (0, b"xar!", _type("xar", "archive")),
    (257, b"ustar", _type("tar", "archive")),
    (0x8001, b"CD001", _type("iso", "archive", "disk")),
    (0, b"conectix", _type("vhd", "disk")),
    (0, b"vhdxfile", _type("vhdx", "disk")),
    (0, b"KDMV", _type("vmdk", "disk")),
    (0, b"QFI\xfb", _type("qcow2", "disk")),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OLE),
    (0, b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", _type("onenote", "office")),
    (0, b"ITSF\x03\0\0\0", _type("chm", "script")),
    (0, b"\x89PNG\r\n\x1a\n", _type("png", "image")),
    (0, b"\xff\xd8\xff", _type("jpeg", "image")),
    (0, b"GIF87a", _type("gif", "image")),
    (0, b"GIF89a", _type("gif", "image")),
    (0, b"II*\0", _type("tiff", "image")),
    (0, b"MM\0*", _type("tiff", "image")),
    (0, b"\0\0\x01\0", _type("ico", "image")),
    (0, b"8BPS", _type("psd", "image")),
    (0, b"\0\0\0\x0cJXL ", _type("jxl", "image")),
    (0, b"OggS", _type("ogg", "media")),
    (0, b"fLaC", _type("flac", "media")),
    (0, b"ID3", _type("mp3", "media")),
    (0, b"\x1aE\xdf\xa3", _type("matroska", "media")),
    (0, b"FLV\x01", _type("flv", "media")),
    (0, b"wOFF", _type("woff", "font")),
    (0, b"wOF2", _type("woff2", "font")),
    (0, b"OTTO", _type("otf", "font")),
    (0, b"\0\x01\0\0\0", _type("ttf", "font")),
    (0, b"SQLite format 3\0", _type("sqlite", "database")),
    (0, b"{\\rtf", _type("rtf", "office")),
)
_PE: Final = _type("pe", "executable")
_DOS: Final = _type("dos", "executable")
_JAVA: Final = _type("java-class", "executable")
_FAT_MACHO: Final = _type("macho", "executable")
_PDF: Final = _type("pdf", "pdf")
_BZIP2: Final = _type("bzip2", "archive")
_RIFF: Final = {b"WEBP": _type("webp", "image"), b"WAVE": _type("wav", "media"), b"AVI ": _type("avi", "media")}
_BRANDS: Final = {b"avif": _type("avif", "image"), b"heic": _type("heic", "image"), b"mif1": _type("heic", "image")}
_MP4: Final = _type("mp4", "media")
_SHELL: Final = _type("shebang", "script")
_BATCH: Final = _type("batch", "script")
_HTA: Final = _type("hta", "script", "html")
_HTML: Final = _type("html", "html", "text")
_SVG: Final = _type("svg", "image", "xml", "text")
_XML: Final = _type("xml", "xml", "text")

_BOM: Final = b"\xef\xbb\xbf"
_BATCH_START: Final = re.compile(rb"@?(?:echo\s+off|rem\s)", re.IGNORECASE)
_HTA_TAG: Final = re.compile(rb"<hta:application", re.IGNORECASE)
_HTML_START: Final = re.compile(rb"<(?:!doctype\s+html|html|head|body|script|iframe|title|meta)\b", re.IGNORECASE)
_MARKUP_START: Final = re.compile(
    rb"(?:<\?xml[^>]{0,200}\?>|<!--.{0,1000}?-->|<!doctype\s+svg[^>]{0,500}>|\s+)*", re.IGNORECASE | re.DOTALL
)
_BINARY: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_WIDE: Final = (b"\xff\xfe", b"\xfe\xff")


def true_type(head: bytes) -> TrueType:
    """The type of a body that begins with ``head`` (HEAD bytes, or all there is)."""
    if not head:
        return EMPTY
    for offset, mark, kind in _MARKS:
        if head.startswith(mark, offset):
            return kind
    return _structured(head) or _textual(head)


def _structured(head: bytes) -> TrueType | None:
    """Marks that take more than one look."""
    if head[:2] in (b"MZ", b"ZM"):
        at = int.from_bytes(head[60:64], "little")
        return _PE if head[at : at + 4] == b"PE\0\0" or at > len(head) - 4 else _DOS
    if head[:4] == b"\xca\xfe\xba\xbe":
        # Java's class files and Mach-O for several processors share it: there the major version follows, here a small count.
        return _JAVA if int.from_bytes(head[4:8]) > 40 else _FAT_MACHO
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], _MP4)
    if head[:3] == b"BZh" and head[3:4].isdigit() and head[4:10] == b"1AY&SY":
        return _BZIP2
    if b"%PDF-" in head[:1024]:  # readers look for it so far (ISO 32000-1, annex H, implementation note 13)
        return _PDF
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return _BITMAP
    return None


_BITMAP: Final = _type("bmp", "image")


def _textual(head: bytes) -> TrueType:
    text = head.removeprefix(_BOM)
    if head.startswith(_WIDE):
        text = head.decode("utf-16", "ignore").encode("ascii", "replace")
    if text.startswith(b"#!"):
        return _SHELL
    if _BINARY.search(text):
        return UNKNOWN
    return _markup(text)


def _markup(text: bytes) -> TrueType:
    start = _MARKUP_START.match(text)
    body = text[start.end() if start else 0 :]
    if _HTA_TAG.search(text):
        return _HTA
    if _HTML_START.match(body):
        return _HTML
    if body[:4].lower() == b"<svg":
        return _SVG
    if text.lstrip().startswith((b"<?xml", b"<!--")) or re.match(rb"<[A-Za-z][\w:.-]*[\s>/]", body):
        return _XML
    return _BATCH if _BATCH_START.match(body) else TEXT


def names() -> frozenset[str]:
    """Every type and class that a rule may name."""
    scope = [value for value in globals().values() if isinstance(value, TrueType)]
    found = {*scope, *(kind for _, _, kind in _MARKS), *_RIFF.values(), *_BRANDS.values()}
    return frozenset({each.name for each in found} | {word for each in found for word in each.classes})
