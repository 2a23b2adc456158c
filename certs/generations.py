"""The generations of a CA: the one that signs, the one that will, and the one that did.

Each has a folder of its own under ``state_dir/ca``, with ``ca.pem`` and ``ca.key``, or ``ca.label`` when the key is in a token:

    <name>             the current one; every process that only knows one CA finds it here
    .<name>.next       made or imported for a rotation; clients are to install it before it signs
    .<name>.previous   what signed before the switch; kept so that the switch can be taken back

A change-over is two renames. Killed between them, ``settle`` finishes it before anybody looks: no state in between
loses a key or leaves the name without a CA.
"""

import shutil
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path

from appliance.domain.errors import ConfigError, Problem
from appliance.files import locked, sync, write_whole

CERTIFICATE = "ca.pem"
KEY = "ca.key"
LABEL = "ca.label"


class Generation(StrEnum):
    CURRENT = "current"
    NEXT = "next"
    PREVIOUS = "previous"


class GenerationError(ConfigError):
    """A step of a rotation that cannot be made now, and what to do first."""

    def __init__(self, file: Path, message: str) -> None:
        super().__init__([Problem(message, file=str(file))])


class Generations:
    """Of the CA ``name`` in ``directory`` (``state_dir/ca``)."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name

    def home(self, generation: Generation) -> Path:
        """The folder of one; it need not exist."""
        hidden = generation is not Generation.CURRENT
        return self._directory / (f".{self._name}.{generation}" if hidden else self._name)

    def certificate(self, generation: Generation) -> Path:
        return self.home(generation) / CERTIFICATE

    def key(self, generation: Generation) -> Path:
        return self.home(generation) / KEY

    def label(self, generation: Generation) -> str:
        """That of its key in the token; empty when it is the one of the configuration, or there is no token."""
        try:
            return (self.home(generation) / LABEL).read_text().strip()
        except FileNotFoundError:
            return ""

    def remember_label(self, generation: Generation, label: str) -> None:
        """Write down which key it has, unless that is known: the configuration may come to name another. Raises OSError."""
        with self._locked():
            if not self.label(generation):
                write_whole(self.home(generation) / LABEL, label.encode())

    def present(self) -> list[Generation]:
        """Those that exist, in the order of ``Generation``."""
        return [each for each in Generation if self.home(each).is_dir()]

    def install(self, generation: Generation, certificates: bytes, key: bytes, label: str = "") -> None:
        """Put a CA where none is: its files appear at once; no key: it is in a token. Raises GenerationError, OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            self._must_be_free(generation)
            draft = self._directory / f".{self._name}.new"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(mode=0o700)
            if key:
                write_whole(draft / KEY, key)
            if label:
                write_whole(draft / LABEL, label.encode())
            write_whole(draft / CERTIFICATE, certificates)
            draft.rename(self.home(generation))
            sync(self._directory)

    def switch(self) -> None:
        """From now on (the next start) the next one signs, and the current one is the previous. Raises GenerationError."""
        self._turn(Generation.NEXT, Generation.PREVIOUS, "there is no next CA", "make one with `arcus ca rotate`")

    def rollback(self) -> None:
        """The opposite of ``switch``. Raises GenerationError."""
        self._turn(Generation.PREVIOUS, Generation.NEXT, "there is no previous CA", "only a switch can be taken back")

    def drop(self, generation: Generation) -> None:
        """Delete one that does not sign, with its key. Raises GenerationError."""
        if generation is Generation.CURRENT:
            raise ValueError("the CA that signs is not dropped")
        with self._locked():
            if not self.home(generation).is_dir():
                raise GenerationError(self.home(generation), f"there is no {generation} CA")
            shutil.rmtree(self.home(generation))
            sync(self._directory)

    def settle(self) -> None:
        """Finish a change-over that was cut short. Called with the lock held, before anything is made anew."""
        current = self.home(Generation.CURRENT)
        waiting = next((self.home(each) for each in (Generation.NEXT, Generation.PREVIOUS) if self.home(each).is_dir()), None)
        if not current.is_dir() and waiting is not None:
            waiting.rename(current)
            sync(self._directory)

    def _turn(self, source: Generation, target: Generation, missing: str, advice: str) -> None:
        if not self._directory.is_dir():
            raise GenerationError(self._directory, f"{missing}: {advice}")
        with self._locked():
            self.settle()
            if not self.home(source).is_dir():
                raise GenerationError(self.home(source), f"{missing}: {advice}")
            self._must_be_free(target)
            self.home(Generation.CURRENT).rename(self.home(target))
            self.home(source).rename(self.home(Generation.CURRENT))
            sync(self._directory)

    def _must_be_free(self, generation: Generation) -> None:
        home = self.home(generation)
        if home.exists():
            advice = "" if generation is Generation.CURRENT else f"; `arcus ca drop --generation {generation}` deletes it"
            raise GenerationError(home, f"there is a {generation} CA already{advice}")

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self._directory / ".lock")
