"""Text from outside, made safe to show: in a terminal, a log line or a table it can only be itself."""

TRUNCATED = "…"


def printable(text: str, limit: int) -> str:
    """``text`` with every character that does not print written as ``\\xNN`` or ``\\uNNNN``, at most ``limit`` characters.

    CR and LF forge lines, ESC drives terminals (CWE-117, CWE-150), U+202E reverses what a person reads, and a lone
    surrogate cannot be stored as UTF-8 at all. The common case, clean and short, costs two C calls.
    """
    if len(text) <= limit and text.isprintable():
        return text
    head = text[:limit]
    shown = head if head.isprintable() else "".join(map(_visible, head))
    return shown if len(shown) <= limit and len(text) <= limit else shown[: limit - 1] + TRUNCATED


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
