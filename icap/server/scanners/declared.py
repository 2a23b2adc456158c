"""What a message says its body is: content type and extension, against the true type."""

from typing import Final

from icap.server.scanners.magic import TrueType
from icap.server.scanners.scanner import Subject

_TEXTS: Final = frozenset(("text", "html", "xml", "script"))
_OFFICE: Final = frozenset(("office",))
_ARCHIVE: Final = frozenset(("archive",))
_IMAGE: Final = frozenset(("image",))
_MEDIA: Final = frozenset(("media",))
_EXECUTABLE: Final = frozenset(("executable", "archive"))
_PDF: Final = frozenset(("pdf",))
_FONT: Final = frozenset(("font",))

_TYPES: Final = {
    "application/pdf": _PDF,
    "application/json": _TEXTS,
    "application/javascript": _TEXTS,
    "application/xml": _TEXTS,
    "application/xhtml+xml": _TEXTS,
    "application/rtf": _OFFICE,
    "application/msword": _OFFICE,
    "application/zip": _ARCHIVE,
    "application/gzip": _ARCHIVE,
    "application/x-7z-compressed": _ARCHIVE,
    "application/vnd.rar": _ARCHIVE,
    "application/x-tar": _ARCHIVE,
    "application/x-msdownload": _EXECUTABLE,
    "application/vnd.microsoft.portable-executable": _EXECUTABLE,
}
_PREFIXES: Final = (
    ("image/", _IMAGE),
    ("audio/", _MEDIA),
    ("video/", _MEDIA),
    ("font/", _FONT),
    ("text/", _TEXTS),
    ("application/vnd.ms-", _OFFICE),
    ("application/vnd.openxmlformats-officedocument", _OFFICE),
    ("application/vnd.oasis.opendocument", _OFFICE),
)
_EXTENSIONS: Final = {
    extension: classes
    for words, classes in (
        ("txt csv log json js css htm html xml svg md", _TEXTS | _IMAGE),
        ("doc docx docm dot dotx xls xlsx xlsm xlsb ppt pptx pptm odt ods odp rtf one msg", _OFFICE),
        ("zip rar 7z gz tgz bz2 xz tar cab iso", _ARCHIVE),
        ("png jpg jpeg gif webp avif bmp ico tif tiff heic", _IMAGE),
        ("mp3 mp4 m4a m4v mov mkv webm ogg oga ogv wav flac avi flv", _MEDIA),
        ("pdf", _PDF),
        ("exe dll scr sys msi com cpl ocx jar apk", _EXECUTABLE),
        ("woff woff2 ttf otf", _FONT),
    )
    for extension in words.split()
}


def mismatch(subject: Subject, kind: TrueType) -> str:
    """Which of the two says something else than the true type: ``content type`` or ``extension``; empty when neither does,
    or when one side is not known."""
    if not kind.classes:
        return ""
    expected = _by_type(subject.content_type)
    if expected and expected.isdisjoint(kind.classes):
        return "content type"
    expected = _EXTENSIONS.get(subject.extension, frozenset())
    return "extension" if expected and expected.isdisjoint(kind.classes) else ""


def _by_type(content_type: str) -> frozenset[str]:
    known = _TYPES.get(content_type)
    if known is not None:
        return known
    return next((classes for prefix, classes in _PREFIXES if content_type.startswith(prefix)), frozenset())
