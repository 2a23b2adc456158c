"""Extra roots belong to the tenant whose auditor names them (TLS-10)."""

from collections.abc import Iterator

import pytest

from tests.e2e.running import Running, base_config, running
from tests.e2e.webserver import WebServer, webserver

pytestmark = [pytest.mark.e2e, pytest.mark.integration]
OTHERS = "127.0.6.1"


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """An origin under a CA that no system knows."""
    with webserver(tmp_path_factory.mktemp("web")) as server:
        yield server


@pytest.fixture(scope="module")
def arcus(tmp_path_factory: pytest.TempPathFactory, private: WebServer) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("arcus")
    auditors = [
        {"name": "knows", "tls_interception": {"upstream_trust": {"ca_files": [str(private.ca_file)]}}},
        {"name": "does-not", "tls_interception": {}},
    ]
    tenants = [
        {"tenant_id": "default", "ca": "default", "auditor": "knows", "escaper": "direct"},
        {
            "tenant_id": "others", "ca": "default", "auditor": "does-not", "escaper": "direct",
            "match": {"networks": ["127.0.6.0/24"]},
        },
    ]  # fmt: skip
    with running(base_config(place / "state", auditor=auditors, tenant=tenants), place) as appliance:
        yield appliance


@pytest.mark.security
def test_tls_10_a_private_root_is_trusted_for_its_tenant_alone(arcus: Running, private: WebServer) -> None:
    for _ in range(2):  # also when the other tenant has just been there
        mine = arcus.curl("--cacert", arcus.ca(), f"{private.tls_url}/hello")
        theirs = arcus.curl("--cacert", arcus.ca(), "--interface", OTHERS, f"{private.tls_url}/hello?others")
        assert (mine.status, theirs.status) == (200, 502)
    assert arcus.event(tenant_id="others")["reason"] == "upstream_cert_untrusted"
    assert not private.seen("?others"), "nothing was sent to a server that is not trusted"
