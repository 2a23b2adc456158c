"""What `arcus run` prints: where things are, and what to paste to try them."""

from pathlib import Path
from shlex import quote

from appliance import __version__
from appliance.app.paths import StatePaths
from appliance.config.root import AppConfig
from appliance.config.server import HttpProxy, Server

_KINDS = {"http_proxy": "HTTP proxy", "socks_proxy": "SOCKS5 proxy", "tcp_tproxy": "transparent"}


def banner(config: AppConfig, paths: StatePaths, path: Path | None, new_token: str | None, workers: int) -> str:
    """Plain lines, made to be read by a person and to be copied from."""
    lines = [f"Arcus {__version__}, {workers} workers, {path or 'the embedded default'}"]
    lines += [f"  {_KINDS[server.type]:<14} {_address(server)}" for server in config.server]
    if config.admin is not None:
        lines.append(f"  {'pages':<14} http://{config.admin.listen.address}/")
    if new_token is not None:
        lines.append(f"  {'admin token':<14} {new_token}   (shown once; its hash is in {paths.admin_token})")
    lines += [f"  {'CA':<14} {paths.ca / ca.name / 'ca.pem'}" for ca in config.ca]
    if config.portal.enabled and any(server.type == "http_proxy" for server in config.server):
        lines.append(
            f"  {'on clients':<14} http://{config.portal.name}/ through the proxy: how to install the CA, and a test of it"
        )
    lines.append(f"  {'state':<14} {paths.root}")
    return "\n".join([*lines, *_try(config, paths), "Ctrl-C stops it."])


def _address(server: Server) -> str:
    scheme = "https://" if isinstance(server, HttpProxy) and server.tls else "http://" if server.type == "http_proxy" else ""
    return f"{scheme}{server.listen.address}"


def _try(config: AppConfig, paths: StatePaths) -> list[str]:
    proxy = next((server for server in config.server if server.type == "http_proxy"), None)
    if config.demo_origin is None or proxy is None:
        return []
    origin = f"https://origin.test:{config.demo_origin.https.address.port}"
    ca = paths.ca / config.tenant[0].ca / "ca.pem"
    curl = f"curl --proxy {_address(proxy)} --cacert {quote(str(ca))} {origin}"
    return [
        "Try it (paste in another terminal):",
        f"  {curl}/           # a page, decrypted, inspected and recorded",
        f"  {curl}/eicar.com  # a virus test file: the block page",
    ]
