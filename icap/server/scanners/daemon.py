"""Questions to a clamd: ping, version, reload, stats. Blocking; run them in a thread."""

import contextlib
import socket
from collections.abc import Iterator

import clamd

from icap.server.scanners.endpoint import Endpoint


class DaemonError(Exception):
    """clamd did not answer, or answered something else. ``gone``: nobody listens there, so it is not merely busy."""

    def __init__(self, text: str, *, gone: bool = False) -> None:
        super().__init__(text)
        self.gone = gone


class _Unix(clamd.ClamdUnixSocket):  # type: ignore[misc]
    """The stock class connects before it sets the timeout, so a full backlog would hold the thread for ever."""

    def _init_socket(self) -> None:
        self.clamd_socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.clamd_socket.settimeout(self.timeout)
        with _connecting(self):
            self.clamd_socket.connect(self.unix_socket)


class _Tcp(clamd.ClamdNetworkSocket):  # type: ignore[misc]
    def _init_socket(self) -> None:
        with _connecting(self):
            self.clamd_socket = socket.create_connection((self.host, self.port), self.timeout)


@contextlib.contextmanager
def _connecting(client: clamd.ClamdNetworkSocket) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if hasattr(client, "clamd_socket"):
            client.clamd_socket.close()
        raise clamd.ConnectionError(str(error)) from error


class Daemon:
    """One clamd. Each call has its own client object: a shared one mixes up the answers of concurrent calls."""

    def __init__(self, endpoint: Endpoint, timeout: float = 3.0) -> None:
        """``timeout`` in seconds, for connecting and for each read."""
        self._endpoint = endpoint
        self._timeout = timeout

    def ping(self) -> bool:
        """Whether clamd says PONG. False also when it is busy: under full load it does not accept."""
        try:
            return self._ask("ping") == "PONG"
        except DaemonError:
            return False

    def version(self) -> str:
        """``ClamAV 1.4.6/27431/Thu Nov 20 09:28:01 2025``, or without the parts after the slash for loose databases."""
        text = self._ask("version")
        if not text.startswith("ClamAV "):
            raise DaemonError(f"not a version: {text[:80]!r}")
        return text

    def reload(self) -> None:
        """Ask clamd to read its database again. It answers at once and keeps the old one until the new one is loaded."""
        text = self._ask("reload")
        if text != "RELOADING":
            raise DaemonError(f"not reloading: {text[:80]!r}")

    def stats(self) -> str:
        """clamd's STATS text: threads, queue, memory."""
        return self._ask("stats")

    def _ask(self, question: str) -> str:
        client = self._client()
        try:
            answer = getattr(client, question)()
        except (clamd.ClamdError, OSError, UnicodeDecodeError) as error:
            gone = isinstance(error.__cause__, (ConnectionRefusedError, FileNotFoundError))
            raise DaemonError(f"{self._endpoint}: {error}", gone=gone) from error
        if not isinstance(answer, str) or not answer:
            raise DaemonError(f"{self._endpoint}: no answer")
        return answer

    def _client(self) -> clamd.ClamdNetworkSocket:
        if self._endpoint.path:
            return _Unix(self._endpoint.path, self._timeout)
        return _Tcp(self._endpoint.host, self._endpoint.port, self._timeout)
