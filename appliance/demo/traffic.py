"""A mix of requests through the running proxy to the test origin, each with what should come back."""

import http.client
import re
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.app.paths import StatePaths
from appliance.config.root import AppConfig
from appliance.config.server import HttpProxy
from appliance.demo.origin import eicar
from appliance.domain.target import Target

TIMEOUT: Final = 30.0
_TUNNEL: Final = re.compile(r"Tunnel connection failed: (\d{3})")


@dataclass(frozen=True, slots=True)
class Probe:
    """``expected`` is the status that should come back."""

    what: str
    scheme: str
    target: Target
    method: str
    path: str
    body: bytes | None
    expected: int


@dataclass(frozen=True, slots=True)
class Result:
    """``outcome`` is the status, with our reason word when the answer is ours; or how the connection failed."""

    what: str
    expected: str
    outcome: str
    ms: float
    ok: bool


def run(config: AppConfig) -> list[Result]:
    """Send all, one after the other. Raises ValueError: no suitable server, or no demo_origin."""
    proxy = next((server for server in config.server if isinstance(server, HttpProxy) and server.tls is None), None)
    if proxy is None or config.demo_origin is None:
        raise ValueError("no plain http_proxy server, or no demo_origin")
    host = "127.0.0.1" if proxy.listen.address.host in ("0.0.0.0", "::") else proxy.listen.address.host
    address = Target(host, proxy.listen.address.port)
    context = trust(config)
    https = Target("origin.test", config.demo_origin.https.address.port)
    plain = Target("origin.test", config.demo_origin.http.address.port)
    return [send(address, probe, context) for probe in probes(https, plain)]


def probes(https: Target, plain: Target) -> Iterator[Probe]:
    """The mix."""
    for scheme, target in (("https", https), ("http", plain)):
        yield Probe(f"{scheme} page", scheme, target, "GET", "/", None, 200)
        yield Probe(f"{scheme} download, 1 MB", scheme, target, "GET", "/bytes/1000000", None, 200)
        yield Probe(f"{scheme} download, EICAR", scheme, target, "GET", "/eicar.com", None, 403)
        yield Probe(f"{scheme} upload, clean", scheme, target, "POST", "/upload", b"clean " * 1000, 200)
        yield Probe(f"{scheme} upload, EICAR", scheme, target, "POST", "/upload", eicar(), 403)
    yield Probe("a name that does not exist", "http", Target("nothing.invalid", 80), "GET", "/", None, 502)
    yield Probe("link-local metadata service", "http", Target("169.254.169.254", 80), "GET", "/latest/meta-data/", None, 403)


def trust(config: AppConfig) -> ssl.SSLContext:
    """The tenants' CAs, for what is intercepted, and the origin's own, for what is spliced."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    paths = StatePaths(config.state_dir)
    files: list[Path] = [
        *paths.ca.glob("*/ca.pem"),
        paths.demo / "ca.pem",
        *(ca.certificate for ca in config.ca if ca.certificate),
    ]
    for file in files:
        if file.exists():
            context.load_verify_locations(file)
    return context


def send(proxy: Target, probe: Probe, context: ssl.SSLContext) -> Result:
    """One request on a connection of its own."""
    started = time.monotonic()
    try:
        status, word = _exchange(proxy, probe, context)
    except (OSError, http.client.HTTPException) as error:
        refused = _TUNNEL.search(str(error))
        status, word = (int(refused[1]), "CONNECT refused") if refused else (0, f"{type(error).__name__}: {error}")
    outcome = " ".join(part for part in (str(status) if status else "", word) if part)
    ms = (time.monotonic() - started) * 1000
    return Result(f"{probe.method} {probe.what}", str(probe.expected), outcome, ms, status == probe.expected)


def _exchange(proxy: Target, probe: Probe, context: ssl.SSLContext) -> tuple[int, str]:
    if probe.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            proxy.host, proxy.port, timeout=TIMEOUT, context=context
        )
        connection.set_tunnel(probe.target.host, probe.target.port)
        url = probe.path
    else:
        connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=TIMEOUT)
        url = f"http://{probe.target}{probe.path}"
    try:
        headers = {"Host": str(probe.target), "Accept": "application/json, text/plain", "User-Agent": "arcus-demo"}
        connection.request(probe.method, url, probe.body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers.get("X-Arcus-Reason", "")
    finally:
        connection.close()
