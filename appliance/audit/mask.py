"""Secrets leave before anything is written: values of named query parameters, and user:password in URLs."""

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote_plus

from appliance.domain.text import printable

MASK = "***"
_SEPARATORS = re.compile(r"([?&;#])")
_USERINFO = re.compile(r"\A([a-z][a-z0-9+.-]*:)?//[^/?#]*@", re.IGNORECASE)
_WORDS = re.compile(r"[^a-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Masker:
    """Masks values of the parameters in ``names``.

    A parameter matches by its whole name or by its last word, in any spelling: with ``token`` in the list,
    ``Token``, ``%74oken``, ``refresh_token``, ``refreshToken`` and ``token[]`` are all masked.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(_WORDS.sub("", name.lower()) for name in names)
        self._secret = lru_cache(maxsize=4096)(self._is_secret)  # names repeat: one lookup instead of three scans

    def url(self, text: str, limit: int = 4096) -> str:
        """The URL or path, masked, printable, at most ``limit`` characters. Cut first: a cut value is masked, too."""
        text = text[:limit]
        if "@" in text:
            text = _USERINFO.sub(lambda match: f"{match[1] or ''}//", text)
        if "=" in text:
            text = self._parameters(text)
        return printable(text, limit)

    def _parameters(self, text: str) -> str:
        parts = _SEPARATORS.split(text)
        for index in range(2, len(parts), 2):
            name, equals, value = parts[index].partition("=")
            secret = self._secret if len(name) <= 64 else self._is_secret  # long names are not worth the memory
            if equals and value and (secret(name) or self._nested(value)):
                parts[index] = f"{name}={MASK}"
        return "".join(parts)

    def _is_secret(self, name: str) -> bool:
        words = _WORDS.split(_CAMEL.sub(" ", unquote_plus(name)).lower())
        filled = [word for word in words if word]
        return bool(filled) and (filled[-1] in self._names or "".join(filled) in self._names)

    def _nested(self, value: str) -> bool:
        """A whole URL as a value (``next=%2Fcb%3Ftoken%3Dabc``) carries its own parameters, escaped once."""
        if "%3d" not in value.lower():
            return False
        plain = "?" + unquote_plus(value)
        return self._parameters(plain) != plain
