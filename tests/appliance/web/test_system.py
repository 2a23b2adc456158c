from html import unescape
from pathlib import Path

import pytest

from appliance.domain.clock import ManualClock
from appliance.telemetry.health import Health, HealthReader, HealthWriter, State
from tests.appliance.web.stage import Stage, events, every_route, healthy, process, rebuilt

DOCS = Path(__file__).parents[3] / "docs" / "admin.md"
EICAR = "EICAR test signatures only"


@pytest.mark.parametrize(
    ("health", "status"),
    [
        (healthy(), 200),
        (healthy(process("icap", State.DEGRADED, EICAR)), 200),
        (healthy(process("icap", State.UNHEALTHY, "down")), 503),
        (healthy(process("icap", stale=True)), 503),
        (Health({"worker-0": process("worker-0")}, ("worker-1",)), 503),
        (Health({}), 503),
    ],
)
async def test_obs_health_status(made: Stage, health: Health, status: int) -> None:
    made.health = health
    reply = await made.client().get("/health")
    assert reply.status == status
    assert reply.json["state"] == health.state.value
    assert reply.json["missing"] == list(health.missing)
    assert bool(reply.json["notices"]) is (health.state is not State.OK)


async def test_obs_health_says_plainly_that_only_test_signatures_are_there(made: Stage) -> None:
    made.health = healthy(process("clamd", State.DEGRADED, EICAR))
    reply = await made.client().get("/health")
    assert reply.status == 200
    assert reply.json["notices"] == [f"part: {EICAR} (clamd)"]
    assert reply.json["processes"]["clamd"]["components"]["part"]["detail"] == EICAR


async def test_obs_a_banner_on_every_page_while_health_is_not_ok(made: Stage) -> None:
    made.add(events(1))
    pages = ["/audit", f"/audit/{events(1)[0]['id']}", "/tenants", "/nothing", "/audit?q=(", "/login"]
    client = made.program()
    for path in pages:
        assert 'class="banner' not in (await client.page(path)).text
    sick = healthy(process("clamd", State.DEGRADED, f"<b>{EICAR}"), process("icap", stale=True))
    made.health = Health(sick.processes, ("parent",))
    for path in pages:
        text = (await client.page(path)).text
        assert 'class="banner unhealthy" role="alert"' in text
        assert f"<li>part: <b>{EICAR} (clamd)</li>" in unescape(text)
        assert "<b>" not in text.split("</section>")[0]
        assert "icap: no sign of life" in text
        assert "parent: not running" in text


async def test_obs_ready_needs_every_worker_alive_and_none_leaving(made: Stage) -> None:
    client = made.client()
    assert (await client.get("/ready")).json == {"ready": True, "draining": False, "waiting_for": []}
    made.health = Health({"worker-0": process("worker-0"), "worker-1": process("worker-1", stale=True)})
    reply = await client.get("/ready")
    assert (reply.status, reply.json["waiting_for"]) == (503, ["worker-1"])
    made.health = Health({"worker-1": process("worker-1")})
    assert (await client.get("/ready")).json["waiting_for"] == ["worker-0"]
    made.health = healthy(process("icap", State.UNHEALTHY))
    assert (await client.get("/ready")).status == 200, "traffic is taken; what scans cannot do, the policy decides"
    made.draining = True
    reply = await client.get("/ready")
    assert (reply.status, reply.json["draining"]) == (503, True)


async def test_obs_ready_with_the_files_that_the_processes_write(made: Stage, tmp_path: Path) -> None:
    clock = ManualClock()
    client = rebuilt(made, health=HealthReader(tmp_path / "run", clock).read)
    writers = [HealthWriter(tmp_path / "run", f"worker-{number}", clock) for number in range(2)]
    assert (await client.get("/ready")).status == 503
    writers[0].heartbeat()
    assert (await client.get("/ready")).status == 503
    writers[1].heartbeat()
    assert (await client.get("/ready")).status == 200
    clock.advance(60)
    writers[0].heartbeat()
    assert (await client.get("/ready")).json["waiting_for"] == ["worker-1"]


async def test_obs_metrics_need_no_token(made: Stage) -> None:
    reply = await made.client().get("/metrics")
    assert (reply.status, reply.text) == (200, "arcus_x 1.0\n")
    assert reply.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.security
async def test_what_needs_no_token_shows_nothing_of_clients(made: Stage) -> None:
    made.add(events(3))
    for path in ("/health", "/ready", "/metrics", "/login"):
        text = (await made.client().page(path)).text
        assert not any(word in text for word in ("10.0.0.7", "example.com", "alice", "acme"))


def test_docs_every_route_is_documented_with_its_methods_and_whether_it_needs_a_token(made: Stage) -> None:
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith("| `/")]
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in lines]
    documented = {path.strip("`"): ({*methods.split(", ")}, token) for path, methods, token in rows}
    routes: dict[str, set[str]] = {}
    for route in every_route(made):
        routes.setdefault(route.path, set()).update((route.methods or set()) - {"HEAD"})
    assert {path: methods for path, (methods, _) in documented.items()} == routes
    open_to_all = {path for path, (_, token) in documented.items() if token == "no"}
    assert open_to_all == {"/login", "/health", "/ready", "/metrics", "/static/{name}", "/pki/{rest:path}"}


def test_docs_every_search_parameter_is_documented() -> None:
    from appliance.web.asking import FIELDS, RANGES

    text = DOCS.read_text()
    assert [name for name in (*FIELDS, *RANGES) if f"`{name}`" not in text] == []
