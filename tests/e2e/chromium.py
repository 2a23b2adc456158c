"""A real browser with a home of its own, driven over the pipe of its developer tools."""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lifetime import with_us

type Message = dict[str, Any]

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--disable-default-apps",
    "--disable-extensions", "--hide-scrollbars", "--window-size=1100,900", "--remote-debugging-pipe",
    # HTTPS first would answer a plain page with another one
    "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,OptimizationHints,MediaRouter",
)  # fmt: skip
PATIENCE = 30.0


def why_not() -> str:
    """Why there is no browser here; empty when there is."""
    missing = [program for program in ("chromium", "certutil") if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


@dataclass
class Visit:
    """What came of one navigation. ``error`` is the browser's (``net::ERR_...``); ``protocol`` the page's (``h2``)."""

    url: str
    error: str = ""
    status: int = 0
    protocol: str = ""
    issuer: str = ""
    security: str = ""
    """The browser's word: ``secure``, ``insecure``, ``neutral`` or ``unknown``."""
    title: str = ""
    text: str = ""


@dataclass
class Browser:
    """One tab. ``directory`` takes screenshots."""

    directory: Path
    _write: int
    _read: int
    _buffer: bytes = b""
    _number: int = 0
    _session: str = ""
    _events: list[Message] = field(default_factory=list)

    def attach(self) -> None:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Security", "Runtime"):
            self._call(f"{domain}.enable")

    def open(self, url: str) -> Visit:
        """Navigate and wait until the page, or the browser's own page about the failure, is loaded."""
        self._events.clear()
        error = self._call("Page.navigate", url=url).get("errorText", "")
        self._wait("Page.loadEventFired")
        return self._visit(error)

    def click(self, selector: str) -> Visit:
        """Click what leads to another page, and wait for that."""
        self._events.clear()
        self.run(f"document.querySelector({json.dumps(selector)}).click()")
        self._wait("Page.loadEventFired")
        return self._visit("")

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        done = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, script: str) -> Any:
        """The first true value of an expression."""
        deadline = time.monotonic() + PATIENCE
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"never true: {script}"
            time.sleep(0.1)
        return value

    def screenshot(self, name: str) -> Path:
        data = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path = self.directory / f"{name}.png"
        path.write_bytes(base64.b64decode(data))
        return path

    def save_to(self, folder: Path) -> None:
        """Downloads are saved there under their own names."""
        self._call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def emulate(self, *, dark: bool = False, width: int = 1100, height: int = 900) -> None:
        """The look of another device."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def _visit(self, error: str) -> Visit:
        documents = [each for each in self._seen("Network.responseReceived") if each["type"] == "Document"]
        response = documents[-1]["response"] if documents else {}
        failed = [each["errorText"] for each in self._seen("Network.loadingFailed") if each["type"] == "Document"]
        return Visit(
            url=self.run("location.href"),
            error=error or next(iter(failed), ""),
            status=int(response.get("status", 0)),
            protocol=response.get("protocol", ""),
            issuer=response.get("securityDetails", {}).get("issuer", ""),
            security=response.get("securityState", ""),
            title=self.run("document.title"),
            text=self.run("document.body ? document.body.innerText : ''"),
        )

    def _seen(self, method: str) -> list[Message]:
        return [event["params"] for event in self._events if event["method"] == method]

    def _wait(self, method: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self._seen(method):
            self._events.append(self._receive(deadline, method))

    def _call(self, method: str, **parameters: Any) -> Message:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while (answer := self._receive(deadline, method)).get("id") != self._number:
            self._events.append(answer)
        assert "error" not in answer, f"{method}: {answer.get('error')}"
        result: Message = answer["result"]
        return result

    def _receive(self, deadline: float, what: str) -> Message:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"the browser is silent: {what}"
            data = os.read(self._read, 1 << 20)
            assert data, f"the browser ended: {what}"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        decoded: Message = json.loads(message)
        return decoded


@contextlib.contextmanager
def browser(directory: Path, *flags: str, ca: Path | None = None, prefix: Sequence[str] = ()) -> Iterator[Browser]:
    """Start it with a new home. ``ca``: installed as a root for servers, as an administrator would. ``prefix``: a command
    to run it under (``ip netns exec``)."""
    home = directory / "home"
    home.mkdir()
    if ca is not None:
        install(home, ca)
    here_read, there_write = os.pipe()
    there_read, here_write = os.pipe()
    # the browser reads its pipe at 3 and writes at 4
    command = [*prefix, "bash", "-c", f'exec "$0" "$@" 3<&{there_read} 4>&{there_write}', "chromium", *FLAGS]
    command += [f"--user-data-dir={home / 'profile'}", *flags, "about:blank"]
    with temporary() as folder:
        environment = os.environ | {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)}
        with (directory / "chromium.log").open("wb") as log:
            process = subprocess.Popen(
                with_us(*command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment | folder,
                pass_fds=(there_read, there_write), start_new_session=True,
            )  # fmt: skip
        for number in (there_read, there_write):
            os.close(number)
        try:
            made = Browser(directory, here_write, here_read)
            made.attach()
            yield made
        finally:
            _end(process)
            for number in (here_read, here_write):
                os.close(number)


@contextlib.contextmanager
def temporary() -> Iterator[dict[str, str]]:
    """The variable that names a folder for a browser's temporary files: one that was ended leaves them there. The name is
    short enough for its sockets."""
    with tempfile.TemporaryDirectory(prefix="arcus-chromium-", ignore_cleanup_errors=True) as folder:
        yield {"TMPDIR": folder}


def install(home: Path, ca: Path) -> None:
    """Into the store of NSS that browsers on Linux read, trusted for servers alone."""
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    for arguments in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "arcus", "-i", str(ca)]):
        subprocess.run(["certutil", "-d", f"sql:{store}", *arguments], check=True, capture_output=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """With everything that it started: its session is its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
