"""A clamd of our own: written, started, waited for and ended by us."""

import contextlib
import logging
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from icap.server.scanners.daemon import Daemon
from icap.server.scanners.endpoint import Endpoint
from icap.server.signatures import SYSTEM_DIRECTORY, Signatures, choose

logger = logging.getLogger(__name__)

ACCOUNT: Final = "clamav"
"""Files from the Internet are not parsed as root when this account exists and can reach the directory."""
SOCKET_PATH_LIMIT: Final = 107
"""Bytes in sockaddr_un.sun_path, without its NUL."""

type Progress = Callable[[str, float], None]
"""What clamd is being waited for, and for how many seconds so far."""


class ClamdFailed(Exception):
    """clamd is not installed, did not start, or did not get ready."""


@dataclass(frozen=True, slots=True)
class ClamdTuning:
    max_size: int = 25 * 1024 * 1024
    """Bytes of one body (StreamMaxLength). MaxFileSize is the same, or clamd would call larger files clean unseen."""
    threads: int = 8
    read_timeout: int = 120
    """Seconds a stream may stall."""
    extra: tuple[str, ...] = ()
    """Further lines of clamd.conf."""


class ManagedClamd:
    """One clamd in ``directory``, with its configuration, socket, log and temporary files there."""

    def __init__(
        self, directory: Path, tuning: ClamdTuning | None = None, *, system: Path = SYSTEM_DIRECTORY, program: str = "clamd"
    ) -> None:
        self._directory = directory.absolute()
        self._tuning = tuning or ClamdTuning()
        self._system = system
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._loaded: Signatures | None = None
        self._account: str | None = None

    @property
    def socket(self) -> Path:
        return self._directory / "run" / "clamd.sock"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint.unix(self.socket)

    @property
    def config(self) -> Path:
        return self._directory / "clamd.conf"

    @property
    def pid(self) -> int:
        """0 when it does not run."""
        return self._process.pid if self._process is not None and self.alive else 0

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def signatures(self) -> str:
        """``system``, ``eicar-only``, or empty before the start."""
        return self._loaded.kind if self._loaded else ""

    def start(self, timeout: float = 180.0, progress: Progress | None = None) -> None:
        """Start and wait for PONG. Blocks: a full database takes clamd some ten seconds to load. Nothing when it runs.

        clamd is killed when the calling thread ends, so that it outlives no supervisor: call from one that stays.

        Raises:
            ClamdFailed: with the end of clamd's own output.
        """
        if self.alive:
            return
        program = shutil.which(self._program) or shutil.which(self._program, path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise ClamdFailed(f"{self._program} is not installed")
        if len(os.fsencode(self.socket)) > SOCKET_PATH_LIMIT:
            raise ClamdFailed(f"the socket's path is longer than {SOCKET_PATH_LIMIT} bytes: {self.socket}")
        self._prepare()
        with (self._directory / "clamd.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*self._wrapper(), program, "--foreground", "--config-file", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                process_group=0,  # an interrupt at the terminal is for us: clamd ends after the traffic does
            )
        (self._directory / "child.pid").write_text(str(self._process.pid))
        self._await_pong(timeout, progress or _silent)

    def stop(self, grace: float = 5.0) -> None:
        """End it: by request, and after ``grace`` seconds by force. Nothing when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.socket.unlink(missing_ok=True)
        (self._directory / "child.pid").unlink(missing_ok=True)

    @property
    def database(self) -> str:
        """What to call the database where clamd states no version of it: for ``ClamdSettings.database``."""
        return self.signatures if self.signatures == "eicar-only" else ""

    def __enter__(self) -> "ManagedClamd":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _prepare(self) -> None:
        run, temporary = self.socket.parent, self.socket.parent / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        self._directory.chmod(0o755)
        self._end_orphan()
        self._loaded = choose(self._directory / "signatures", self._system)
        account = _account(self._directory)
        if account is not None:
            # Only what clamd writes. In a directory of its own it could lead our writes to /etc by a link.
            for path in (run, temporary):
                os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
        self.socket.unlink(missing_ok=True)
        self._account = account.pw_name if account is not None else None
        self.config.write_text("\n".join(self._lines(temporary)) + "\n")
        self.config.chmod(0o644)

    def _wrapper(self) -> list[str]:
        """The account is taken on before clamd starts: the kernel forgets the signal where a process changes its user."""
        program = shutil.which("setpriv")
        if program is None:
            return []
        account = self._account
        user = ["--reuid", account, "--regid", account, "--init-groups"] if account else []
        return [program, *user, "--pdeathsig", "KILL"]

    def _lines(self, temporary: Path) -> tuple[str, ...]:
        tuning, signatures = self._tuning, self._loaded
        return (
            *((f"User {self._account}",) if self._account and not shutil.which("setpriv") else ()),
            f"DatabaseDirectory {signatures.directory if signatures else ''}",
            f"LocalSocket {self.socket}",
            "LocalSocketMode 660",
            "FixStaleSocket yes",
            f"TemporaryDirectory {temporary}",
            "LogTime yes",
            f"StreamMaxLength {tuning.max_size}",
            f"MaxFileSize {tuning.max_size}",
            f"MaxScanSize {max(400 * 1024 * 1024, 4 * tuning.max_size)}",
            # What clamd did not look at to the end is a find, not clean.
            "AlertExceedsMax yes",
            # and so is what it could not look into: policy is the scanner's (``encrypted``)
            "AlertEncrypted yes",
            # Debian's 15 resets connections under load; 200 did not in 200 simultaneous streams.
            "MaxConnectionQueueLength 200",
            f"MaxThreads {tuning.threads}",
            f"MaxQueue {max(100, 2 * tuning.threads)}",
            f"ReadTimeout {tuning.read_timeout}",
            "ExitOnOOM yes",
            *tuning.extra,
        )

    def _await_pong(self, timeout: float, progress: Progress) -> None:
        daemon = Daemon(self.endpoint, timeout=2.0)
        started = time.monotonic()
        told = -1.0
        while not (self.socket.exists() and daemon.ping()):
            waited = time.monotonic() - started
            if not self.alive or waited > timeout:
                self.stop()
                raise ClamdFailed(f"clamd did not get ready in {waited:.0f} s: {self._last_words()}")
            if waited - told >= 1.0:
                told = waited
                progress(f"clamd loads its signatures ({self.signatures})", waited)
            time.sleep(0.05)

    def _last_words(self) -> str:
        lines = (self._directory / "clamd.log").read_text(errors="replace").splitlines()
        return " | ".join(lines[-3:])

    def _end_orphan(self) -> None:
        """A clamd of a supervisor that was killed still holds the socket: end it, if it really is that one."""
        try:
            pid = int((self._directory / "child.pid").read_text())
        except (OSError, ValueError):
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self._is_ours(pid):
                return
            logger.warning("ending a clamd left over from an earlier run: process %d, %s", pid, number.name)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            self._wait_gone(pid, 3.0)

    def _is_ours(self, pid: int) -> bool:
        """By its command line: the number may belong to any process by now."""
        try:
            return os.fsencode(self.config) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False

    def _wait_gone(self, pid: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._is_ours(pid) and time.monotonic() < deadline:
            time.sleep(0.05)


def _account(directory: Path) -> pwd.struct_passwd | None:
    """The account to run as, when we are root, it exists, and it can get to the directory."""
    if os.geteuid() != 0 or not all(parent.stat().st_mode & 0o001 for parent in directory.parents):
        return None
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        return None


def _silent(_text: str, _seconds: float) -> None:
    return
