"""Enums of words that stand in records and metrics, each with what the documentation says of it."""

from enum import Enum
from typing import Self


class Word(Enum):
    """A member is written ``word, text``. The word is its value."""

    word: str
    text: str

    def __new__(cls, word: str, text: str) -> Self:
        member = object.__new__(cls)
        member._value_ = word
        member.word, member.text = word, text
        return member
