"""The appliance with a scanner for tests: one appliance, a tenant for each way of scanning, chosen by the client's address."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.identity import hashes
from tests.e2e.icap_peers import Tap
from tests.e2e.running import Running, base_config
from tests.e2e.webserver import WebServer
from tests.ports import free_port
from tests.servers import Clamd, clamd

# one source address for each tenant; the default tenant has the others
SOURCES = {
    "lenient": "127.0.0.2",
    "small": "127.0.0.3",
    "smallpass": "127.0.0.4",
    "cicap": "127.0.0.5",
    "bad": "127.0.0.7",
    "badpass": "127.0.0.8",
    "users": "127.0.0.9",
}
PASSWORD = "correct horse battery"


class RestartableClamd:
    """clamd on a port that stays the same while it is stopped and started."""

    def __init__(self) -> None:
        self.port = free_port()
        self._running = contextlib.ExitStack()
        self.process: Clamd | None = None

    def start(self) -> None:
        self.process = self._running.enter_context(clamd(port=self.port))

    def stop(self) -> None:
        self._running.close()
        self.process = None

    def __enter__(self) -> "RestartableClamd":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass
class Scanned:
    """A running appliance and everything around it."""

    appliance: Running
    web: WebServer
    clamd: RestartableClamd
    tap: Tap

    def get(self, tenant: str, url: str, *args: str | Path, timeout: int = 20) -> Any:
        """curl through the explicit listener as this tenant."""
        source = ["--interface", SOURCES[tenant]] if tenant in SOURCES else []
        return self.appliance.curl(*source, "--cacert", self.appliance.ca(), *args, url, timeout=timeout)


def auditor(name: str, web: WebServer, reqmod: str, respmod: str = "", **more: Any) -> dict[str, Any]:
    """An auditor that trusts ``web``. Without ``respmod`` one service does both."""
    trust = {"upstream_trust": {"ca_files": [str(web.ca_file)], "system_roots": False}}
    return {
        "name": name,
        "tls_interception": trust,
        "icap_reqmod_service": reqmod,
        "icap_respmod_service": respmod or reqmod,
    } | more


def _services(port: int) -> tuple[str, str]:
    return f"icap://127.0.0.1:{port}/reqmod", f"icap://127.0.0.1:{port}/respmod"


def config(
    state: Path, web: WebServer, scanner_port: int, icap_port: int, tap: Tap, c_icap: str, bad: int, *, in_workers: bool = False
) -> Any:
    """``c_icap``: address of its service; ``bad``: the port of a service that misbehaves."""
    own, tapped = _services(icap_port), _services(tap.port)
    bad_uri = f"icap://127.0.0.1:{bad}/bad"
    auditors = {
        "inspect": auditor("inspect", web, *own, websocket="bypass", event_stream="block"),
        "lenient": auditor("lenient", web, *own, icap_on_error="bypass", event_stream="bypass", websocket="block"),
        "small": auditor("small", web, *own, max_scan_size="64K"),
        "smallpass": auditor("smallpass", web, *own, max_scan_size="64K", oversize="bypass"),
        "cicap": auditor("cicap", web, c_icap),
        "bad": auditor("bad", web, bad_uri, icap_timeout=2.0, icap_health=None),
        "badpass": auditor("badpass", web, bad_uri, icap_timeout=2.0, icap_on_error="bypass", icap_health=None),
        "users": auditor("users", web, *tapped),
    }
    default = {"tenant_id": "default", "ca": "default", "auditor": "inspect", "escaper": "direct"}
    tenants = [
        default | {"tenant_id": name, "auditor": name, "match": {"networks": [f"{ip}/32"]}} for name, ip in SOURCES.items()
    ]
    tenants[-1]["user_group"] = "people"
    alice = {"name": "alice", "password_hash": hashes.make(PASSWORD)}
    return base_config(
        state,
        auditor=list(auditors.values()),
        tenant=[default, *tenants],
        user_group=[{"name": "people", "static_users": [alice]}],
        verdict_cache={"enabled": False},  # each test sees its own scan
        icap_server={
            "listen": {"address": f"127.0.0.1:{icap_port}"},
            "in_workers": in_workers,
            "scanner": {"type": "clamd", "tcp": f"127.0.0.1:{scanner_port}"},
        },
    )
