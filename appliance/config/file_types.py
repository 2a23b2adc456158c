"""The words for what a file truly is, as rules may use them."""

from typing import Final

_CLASSES: Final = "archive database disk executable font html image macros media office pdf script text xml"
_TYPES: Final = (
    "7z apk ar avi avif batch bmp bzip2 cab chm dex doc dos elf empty epub flac flv gif gzip heic hta html ico iso jar "
    "java-class jpeg jxl lnk lz4 macho matroska mp3 mp4 msg msi odf ogg ole onenote ooxml opc otf pdf pe png ppt psd "
    "qcow2 rar rpm rtf shebang sqlite svg tar text tiff ttf unknown vhd vhdx vmdk wasm wav webp woff woff2 xar xls xml "
    "xz zip zstd"
)
CLASSES: Final = tuple(_CLASSES.split())
TYPES: Final = tuple(_TYPES.split())
WORDS: Final = frozenset((*CLASSES, *TYPES))


def check_file_type(value: str) -> str:
    """A class, such as ``executable``, or a type, such as ``pe``."""
    if value not in WORDS:
        raise ValueError(f"not a file type: {value!r} (classes: {', '.join(CLASSES)}; types: {', '.join(sorted(TYPES))})")
    return value
