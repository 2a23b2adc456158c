"""Real scanners for tests: clamd with a hand-made database, c-icap with and without it. Ended by process id."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lifetime import with_us
from tests.ports import free_port

# Written backwards, so that a scanner that looks at this source does not find it.
EICAR = rb"*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\4[PA@%P!O5X"[::-1]
EICAR_NAME = "Eicar-Test-Signature.UNOFFICIAL"
MARKER = b"PLEASE-BLOCK-ME-7f3a"
"""Found at any offset of a body, as ``Test.Marker.UNOFFICIAL``."""

_CLAMD_CONF = """\
Foreground yes
DatabaseDirectory {base}/db
LocalSocket {base}/clamd.sock
LocalSocketMode 666
FixStaleSocket yes
TCPSocket {port}
TCPAddr 127.0.0.1
TemporaryDirectory {base}/tmp
LogFile {base}/clamd.log
LogTime yes
MaxThreads 4
MaxConnectionQueueLength 200
ReadTimeout 5
CommandReadTimeout 3
SelfCheck 600
AlertExceedsMax yes
"""

_C_ICAP_CONF = """\
PidFile {base}/c-icap.pid
CommandsSocket {base}/c-icap.ctl
Timeout 60
MaxKeepAliveRequests 100000
KeepAliveTimeout 600
StartServers 1
MaxServers 2
MinSpareThreads 4
MaxSpareThreads 16
ThreadsPerChild 16
MaxRequestsPerChild 0
Port 127.0.0.1:{port}
{owner}ServerName icap.test.invalid
TmpDir {base}/tmp
MaxMemObject 131072
DebugLevel 1
Pipelining on
ModulesDir {lib}
ServicesDir {lib}
TemplateDir /usr/share/c_icap/templates/
TemplateDefaultLanguage en
LoadMagicFile /etc/c-icap/c-icap.magic
ServerLog {base}/server.log
AccessLog {base}/access.log
Service echo srv_echo.so
Service ex206 srv_ex206.so
"""

_VIRUS_SCAN_CONF = """\
Module common clamd_mod.so
clamd_mod.ClamdSocket {socket}
Service antivirus_module virus_scan.so
ServiceAlias avscan virus_scan?allow204=on&sizelimit=off&mode=simple
virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE
virus_scan.SendPercentData 5
virus_scan.StartSendPercentDataAfter 2M
virus_scan.PassOnError off
virus_scan.MaxObjectSize 5M
virus_scan.DefaultEngine clamd
"""


@dataclass(frozen=True, slots=True)
class Clamd:
    """A running clamd: ``socket`` is its unix socket, ``port`` its TCP port on 127.0.0.1."""

    base: Path
    socket: Path
    port: int
    pid: int

    def command(self, text: str) -> str:
        """One z-command and its answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.socket))
            connection.sendall(b"z" + text.encode() + b"\0")
            return connection.recv(4096).rstrip(b"\0\n").decode()


@dataclass(frozen=True, slots=True)
class CIcap:
    """A running c-icap: services ``echo`` and ``ex206``; with clamd also ``avscan`` (scans whole bodies before it
    answers) and ``virus_scan`` (over 2 MB it sends 5 % ahead of the scan)."""

    base: Path
    port: int
    pid: int

    def uri(self, service: str) -> str:
        return f"icap://127.0.0.1:{self.port}/{service}"


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    """Wait until ``ready``; a server that ended, or never gets there, fails with the tail of its log."""
    deadline = time.monotonic() + seconds
    while not _succeeds(ready):
        if process.poll() is not None or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise RuntimeError(f"{process.args!r} did not start (status {process.returncode}): {tail}")
        time.sleep(0.05)


def _succeeds(ready: Callable[[], bool]) -> bool:
    try:
        return ready()
    except OSError:
        return False


@contextlib.contextmanager
def clamd(extra: str = "", *, port: int | None = None) -> Iterator[Clamd]:
    """clamd that knows EICAR and MARKER. ``extra``: further lines of clamd.conf, for example ``StreamMaxLength 1M``."""
    with _directory("clamd") as base:
        database = base / "db" / "test.ndb"
        database.parent.mkdir()
        database.write_text(f"Eicar-Test-Signature:0:0:{EICAR.hex()}\nTest.Marker:0:*:{MARKER.hex()}\n")
        port = port if port is not None else free_port()
        conf = base / "clamd.conf"
        conf.write_text(_CLAMD_CONF.format(base=base, port=port) + extra + "\n")
        with _process(["clamd", "-c", str(conf)], base / "out.log") as process:
            server = Clamd(base, base / "clamd.sock", port, process.pid)
            wait_for(lambda: server.command("PING") == "PONG", process, base / "out.log")
            yield server


@contextlib.contextmanager
def c_icap(scanner: Clamd | None = None, extra: str = "", *, port: int | None = None) -> Iterator[CIcap]:
    """c-icap; with ``scanner`` also its virus_scan service. It must start after clamd answers: else it passes EICAR."""
    with _directory("c-icap") as base:
        port = port if port is not None else free_port()
        text = _C_ICAP_CONF.format(base=base, port=port, lib=_c_icap_modules(), owner=_owner())
        if scanner is not None:
            text += _VIRUS_SCAN_CONF.format(socket=scanner.socket)
        conf = base / "c-icap.conf"
        conf.write_text(text + extra + "\n")
        with _process(["c-icap", "-N", "-f", str(conf)], base / "out.log") as process:
            wait_for(lambda: _answers(port), process, base / "server.log")
            yield CIcap(base, port, process.pid)


def _answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"OPTIONS icap://127.0.0.1/echo ICAP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        return connection.recv(4096).startswith(b"ICAP/1.0 200")


def _c_icap_modules() -> str:
    return str(next(Path("/usr/lib").glob("*/c_icap")))


def _owner() -> str:
    """Its worker is who we are: it reads and writes our files. Who is not root cannot even say so (setgroups)."""
    return "User root\nGroup root\n" if os.geteuid() == 0 else ""


@contextlib.contextmanager
def _directory(name: str) -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix=f"arcus-{name}-"))
    base.chmod(0o755)
    (base / "tmp").mkdir()
    (base / "tmp").chmod(0o777)
    try:
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(with_us(*command), stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # c-icap's children wait for their connections to end
        process.wait()
