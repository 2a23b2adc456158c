"""What kind of ZIP or OLE file a stream is, and whether it carries macros: names that stand in the clear inside."""

import re
from typing import Final

from icap.server.scanners.magic import OLE, ZIP, TrueType


def _wide(text: str) -> bytes:
    return text.encode("utf-16-le")


_OVERLAP: Final = 80
"""Bytes of a piece that are looked at again with the next: longer than any mark."""
_OOXML: Final = re.compile(rb"PK\x03\x04.{26}(word|xl|ppt|visio)/", re.DOTALL)
_MARKS: Final[dict[str, re.Pattern[bytes]]] = {
    "ooxml": _OOXML,
    "opc": re.compile(rb"PK\x03\x04.{26}\[Content_Types\]\.xml", re.DOTALL),
    "odf": re.compile(rb"mimetypeapplication/vnd\.oasis\.opendocument"),
    "epub": re.compile(rb"mimetypeapplication/epub\+zip"),
    "jar": re.compile(rb"PK\x03\x04.{26}META-INF/MANIFEST\.MF", re.DOTALL | re.IGNORECASE),
    "apk": re.compile(rb"PK\x03\x04.{26}AndroidManifest\.xml", re.DOTALL),
    # in the local header and again in the directory at the end: once is enough
    "macros": re.compile(
        rb"vbaProject(?:Signature)?\.bin|Basic/script-lc\.xml|Basic/[^\0]{1,40}/script-lb\.xml", re.IGNORECASE
    ),
}
_OLE_MARKS: Final[dict[str, re.Pattern[bytes]]] = {
    "doc": re.compile(re.escape(_wide("WordDocument"))),
    "xls": re.compile(re.escape(_wide("Workbook"))),
    "ppt": re.compile(re.escape(_wide("PowerPoint Document"))),
    "msg": re.compile(re.escape(_wide("__properties_version1.0"))),
    "msi": re.compile(re.escape(bytes.fromhex("84100c0000000000c000000000000046"))),
    "macros": re.compile(re.escape(_wide("_VBA_PROJECT"))),
}
_ZIP_KINDS: Final = (
    ("apk", frozenset(("archive", "executable"))),
    ("ooxml", frozenset(("office", "archive"))),
    ("odf", frozenset(("office", "archive"))),
    ("epub", frozenset(("archive",))),
    ("jar", frozenset(("archive", "executable"))),
    ("opc", frozenset(("office", "archive"))),
)
_OLE_KINDS: Final = (
    ("msi", frozenset(("archive", "executable"))),
    ("doc", frozenset(("office",))),
    ("xls", frozenset(("office",))),
    ("ppt", frozenset(("office",))),
    ("msg", frozenset(("office",))),
)
NAMES: Final = frozenset(name for name, _ in (*_ZIP_KINDS, *_OLE_KINDS)) | {"macros"}


class Container:
    """Looks for the marks while the pieces pass. Constant memory."""

    def __init__(self, kind: TrueType) -> None:
        """``kind`` is ZIP or OLE."""
        self._outer = kind
        self._marks = dict(_MARKS if kind is ZIP else _OLE_MARKS)
        self._found: set[str] = set()
        self._tail = b""

    def feed(self, piece: bytes) -> None:
        window = self._tail + piece
        for name, pattern in list(self._marks.items()):
            if pattern.search(window):
                self._found.add(name)
                del self._marks[name]
        self._tail = window[-_OVERLAP:]

    @property
    def kind(self) -> TrueType:
        kinds = _ZIP_KINDS if self._outer is ZIP else _OLE_KINDS
        name, classes = next(((name, classes) for name, classes in kinds if name in self._found), ("", frozenset[str]()))
        if not name:
            name, classes = self._outer.name, self._outer.classes
        return TrueType(name, classes | {"macros"} if "macros" in self._found else classes)


def container(kind: TrueType) -> Container | None:
    """For a type that needs a look inside."""
    return Container(kind) if kind in (ZIP, OLE) else None
