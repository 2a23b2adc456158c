"""What the figures were taken on, and what is needed to take them."""

import os
import platform
import re
import shutil
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from bench.contenders import SQUID_HELPERS, TOOLS

_PROGRAMS = {
    "wrk": "wrk", "h2load": "nghttp2-client", "nginx": "nginx-light", "squid": "squid-openssl", "clamd": "clamav-daemon",
    "c-icap": "c-icap", "nft": "nftables", "ip": "iproute2", "ss": "iproute2", "curl": "curl", "nsenter": "util-linux",
    "unshare": "util-linux", "setpriv": "util-linux", "sysctl": "procps",
}  # fmt: skip


def missing() -> list[str]:
    """What keeps the bench from running, for a person; empty when nothing does."""
    lines = [] if os.geteuid() == 0 else ["root: network namespaces are made"]
    lines += [f"{program}: Debian package {package}" for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    if not (SQUID_HELPERS / "security_file_certgen").exists():
        lines.append("security_file_certgen: Debian package squid-openssl (plain squid has no ssl-bump)")
    if not list(Path("/usr/lib").glob("*/c_icap/virus_scan.so")):
        lines.append("virus_scan.so: Debian package libc-icap-mod-virus-scan")
    if not (TOOLS / "mitmdump").exists():
        lines.append(f"{TOOLS}/mitmdump: scripts/bootstrap run")
    return lines


def describe() -> dict[str, str]:
    from appliance import __version__

    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} cores ({_cpu()}), {_memory()} of memory, Linux {platform.release()}",
        "versions": ", ".join(
            (
                f"Arcus {__version__}", f"Python {platform.python_version()}", f"mitmdump {metadata.version('mitmproxy')}",
                f"squid {_version('squid', '-v')}", f"clamd {_version('clamd', '--version')}",
                f"c-icap {_version('c-icap', '-V')}", f"nginx {_version('nginx', '-v')}",
                f"wrk {_version('wrk', '-v')}", f"h2load {_version('h2load', '--version')}",
            )
        ),
    }  # fmt: skip


def _cpu() -> str:
    match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1].strip() if match else platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1024**3:.0f} GiB"


def _version(program: str, flag: str) -> str:
    done = subprocess.run([program, flag], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    match = re.search(r"\d+\.\d+(\.\d+)*", done.stdout + done.stderr)
    return match[0] if match else "?"
