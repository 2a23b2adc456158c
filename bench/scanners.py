"""clamd, and c-icap before it, in the gateway. Each contender has its own, so that its CPU time and memory are its own."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.origin import MARKER
from bench.processes import Program, running
from bench.topology import Namespace
from icap.client.probe import EICAR

_CLAMD = """\
Foreground yes
DatabaseDirectory {base}/db
LocalSocket {base}/clamd.sock
LocalSocketMode 666
FixStaleSocket yes
TemporaryDirectory {base}/tmp
LogFile {base}/clamd.log
StreamMaxLength 25M
MaxThreads 8
MaxQueue 200
MaxConnectionQueueLength 200
SelfCheck 3600
DisableCache yes
AlertExceedsMax yes
"""

_C_ICAP = """\
PidFile {base}/c-icap.pid
CommandsSocket {base}/c-icap.ctl
Timeout 300
MaxKeepAliveRequests 1000000
KeepAliveTimeout 600
StartServers 1
MaxServers 2
MinSpareThreads 8
MaxSpareThreads 64
ThreadsPerChild 64
MaxRequestsPerChild 0
Port 127.0.0.1:1345
User root
Group root
ServerName icap.bench.test
TmpDir {base}/tmp
MaxMemObject 131072
DebugLevel 0
Pipelining on
ModulesDir {modules}
ServicesDir {modules}
TemplateDir /usr/share/c_icap/templates/
TemplateDefaultLanguage en
LoadMagicFile /etc/c-icap/c-icap.magic
ServerLog {base}/server.log
AccessLog {base}/access.log
Module common clamd_mod.so
clamd_mod.ClamdSocket {base}/clamd.sock
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
class Scanner:
    """``socket`` is clamd's; ``uri`` the ICAP service, empty without one."""

    socket: Path
    uri: str
    programs: tuple[Program, ...]


@contextlib.contextmanager
def clamd(base: Path, gateway: Namespace) -> Iterator[Scanner]:
    """clamd with one signature (the origin's marker) and without its cache: each body is scanned."""
    base.mkdir()
    base.chmod(0o755)
    for name in ("db", "tmp"):
        (base / name).mkdir()
    (base / "tmp").chmod(0o777)
    # EICAR: without it the appliance takes the service for one that does not scan
    (base / "db" / "bench.ndb").write_text(f"Bench.Marker:0:*:{MARKER.hex()}\nEicar:0:0:{EICAR.hex()}\n")
    (base / "clamd.conf").write_text(_CLAMD.format(base=base))
    path = base / "clamd.sock"
    with running(gateway.enter(["clamd", "-c", str(base / "clamd.conf")]), base / "out.log") as program:
        program.wait_until(lambda: _pong(path), "clamd")
        yield Scanner(path, "", (program,))


@contextlib.contextmanager
def c_icap(base: Path, gateway: Namespace) -> Iterator[Scanner]:
    """c-icap with clamd. It is started after clamd answers: otherwise it lets everything pass."""
    with clamd(base, gateway) as scanner:
        modules = next(Path("/usr/lib").glob("*/c_icap"))
        (base / "c-icap.conf").write_text(_C_ICAP.format(base=base, modules=modules))
        command = ["c-icap", "-N", "-f", str(base / "c-icap.conf")]
        with running(gateway.enter(command), base / "c-icap.log") as program:
            program.wait_until(lambda: bool(gateway.call("ss", "-Hltn", "sport = :1345").strip()), "c-icap")
            yield Scanner(scanner.socket, "icap://127.0.0.1:1345/avscan", (*scanner.programs, program))


def _pong(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(b"zPING\0")
        return connection.recv(64).startswith(b"PONG")
