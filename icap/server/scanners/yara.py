"""The YARA-X scanner: rules of one's own, over whole bodies. Needs the extra ``yara`` (package yara-x)."""

import asyncio
import hashlib
import importlib.util
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.domain.reason import Reason
from icap.server.scanners.body import ScannedBody
from icap.server.scanners.scanner import UNKNOWN, Grounds, ScannerHealth, ScanOutcome, ScanResult, Subject
from icap.server.scanners.watched import Flawed, Watched

if TYPE_CHECKING:
    import yara_x

SUFFIXES = (".yar", ".yara")
_MEMORY = 1024 * 1024
"""Bytes of a body that are held; longer ones go to an unlinked file, which the library maps."""


@dataclass(frozen=True, slots=True)
class YaraSettings:
    directory: Path
    """Every ``*.yar`` and ``*.yara`` in it, and in the folders below."""
    timeout: float = 10.0
    """Seconds of one scan, the wait for a thread included. The library counts whole seconds."""
    concurrency: int = 2
    """Scans at once, each in a thread. The library does not hold the interpreter's lock while it scans."""
    max_size: int = 25 * 1024 * 1024
    """Bytes. A larger body is an error, never clean."""
    refresh: float = 2.0
    """Seconds between looks at the directory."""
    name: str = "yara"


@dataclass(frozen=True, slots=True)
class _Compiled:
    rules: "yara_x.Rules"
    version: str


@dataclass(frozen=True, slots=True)
class _Answer:
    found: str = ""
    """The first rule that matches."""
    failure: Reason | None = None
    detail: str = ""


def installed() -> bool:
    """Whether the library is there."""
    return importlib.util.find_spec("yara_x") is not None


class YaraScanner:
    """A ``Scanner`` by rules: the first that matches is the signature. Without rules it has no verdict."""

    def __init__(self, settings: YaraSettings) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._rules: Watched[_Compiled] = Watched(settings.name, self._files, self._compile, settings.refresh)

    @property
    def engine(self) -> str:
        return f"YARA-X/{self._rules.value.version}" if self._rules.value else ""

    @property
    def fingerprint(self) -> str:
        return f"{self.engine}|{self._settings.max_size}"

    @property
    def health(self) -> ScannerHealth:
        return self._rules.health(self.engine)

    @property
    def grounds(self) -> Grounds:
        return Grounds.BODY

    async def start(self) -> None:
        await self._rules.start()

    async def close(self) -> None:
        await self._rules.close()

    async def reload(self) -> None:
        """Look at the rules now."""
        await self._rules.look()

    async def scan(self, chunks: AsyncIterator[bytes], subject: Subject = UNKNOWN) -> ScanResult:
        compiled = self._rules.value
        if compiled is None:
            return self._error(Reason.SCANNER_UNREACHABLE, self._rules.flaw)
        body = ScannedBody(chunks, self._settings.max_size)
        with tempfile.SpooledTemporaryFile(_MEMORY) as spool:
            async for piece in body.pieces():
                try:
                    spool.write(piece)
                except OSError as error:
                    return self._error(Reason.RESOURCE_EXHAUSTED, f"keeping a body: {error}")
            if body.oversize:
                return self._error(Reason.BODY_TOO_LARGE, f"more than {self._settings.max_size} bytes")
            return await self._judge(compiled, spool, body)

    async def _judge(self, compiled: _Compiled, spool: "tempfile.SpooledTemporaryFile[bytes]", body: ScannedBody) -> ScanResult:
        started = time.monotonic()
        try:
            answer = await self._in_thread(compiled, spool)
        except TimeoutError:
            return self._error(Reason.SCANNER_TIMEOUT, "no free thread")
        if answer.failure is not None:
            return self._error(answer.failure, answer.detail)
        return ScanResult(
            ScanOutcome.INFECTED if answer.found else ScanOutcome.CLEAN,
            signature=answer.found,
            engine=f"YARA-X/{compiled.version}",
            ms=round((time.monotonic() - started) * 1000, 3),
            size=body.size,
            sha256=body.sha256,
            scanner=self._settings.name,
        )

    async def _in_thread(self, compiled: _Compiled, spool: "tempfile.SpooledTemporaryFile[bytes]") -> _Answer:
        """Raises TimeoutError when no thread becomes free.

        A scan that has begun is waited for: its thread cannot be stopped, and the library ends it at its deadline.
        """
        async with asyncio.timeout(self._settings.timeout):
            await self._slots.acquire()
        try:
            work = asyncio.get_running_loop().run_in_executor(None, _match, compiled, spool, self._settings.timeout)
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                await asyncio.wait([work])
                raise
        finally:
            self._slots.release()

    def _error(self, reason: Reason, detail: str) -> ScanResult:
        return ScanResult(ScanOutcome.ERROR, engine=self.engine, reason=reason, detail=detail, scanner=self._settings.name)

    def _files(self) -> list[Path]:
        return sorted(path for path in self._settings.directory.rglob("*") if path.suffix in SUFFIXES)

    def _compile(self) -> _Compiled:
        if not installed():
            raise Flawed("the package yara-x is not installed: `.venv/bin/python -m pip install 'yara-x>=1.22'`")
        files = self._files()
        if not files:
            raise Flawed(f"{self._settings.directory}: no *.yar and no *.yara in it")
        return _compiled(self._settings.directory, files)


def _compiled(directory: Path, files: list[Path]) -> _Compiled:
    """Raises Flawed with every error of every file, each with its line."""
    import yara_x

    compiler, digest = yara_x.Compiler(), hashlib.sha256()
    flaws: list[str] = []
    for file in files:
        place = str(file.relative_to(directory))
        compiler.new_namespace(place)  # two files may have rules of one name
        text = file.read_bytes()
        digest.update(f"{place}\0{len(text)}\0".encode() + text)
        before = len(compiler.errors())
        try:
            compiler.add_source(text.decode(), origin=str(file))
        except UnicodeDecodeError as error:
            flaws.append(f"{file}: {error.reason}, at octet {error.start}")
        except yara_x.CompileError:
            flaws += [f"{file}:{each['line']}: {each['title']}" for each in compiler.errors()[before:]]
    if flaws:
        raise Flawed("; ".join(flaws))
    return _Compiled(compiler.build(), digest.hexdigest()[:12])


def _match(compiled: _Compiled, spool: "tempfile.SpooledTemporaryFile[bytes]", timeout: float) -> _Answer:
    """Never raises: a traceback would carry the library's scanner to another thread, which it does not bear."""
    import yara_x

    try:
        scanner = yara_x.Scanner(compiled.rules)
        scanner.set_timeout(max(1, round(timeout)))
        matching = _scan(scanner, spool).matching_rules
        return _Answer(str(matching[0].identifier) if matching else "")
    except yara_x.TimeoutError:
        return _Answer(failure=Reason.SCANNER_TIMEOUT, detail=f"the rules took more than {timeout:g} s")
    except (yara_x.ScanError, OSError) as error:
        return _Answer(failure=Reason.SCANNER_ERROR, detail=str(error))


def _scan(scanner: "yara_x.Scanner", spool: "tempfile.SpooledTemporaryFile[bytes]") -> "yara_x.ScanResults":
    if spool.tell() <= _MEMORY:
        spool.seek(0)
        return scanner.scan(spool.read())
    spool.flush()
    return scanner.scan_file(f"/proc/self/fd/{spool.fileno()}")
