"""What we rely on in mitmproxy 12.2.3, and what must never be in it."""

import dataclasses
import importlib.metadata
import inspect
import re
from pathlib import Path

import mitmproxy
import mitmproxy.certs
import mitmproxy.options
from mitmproxy.proxy import layer, server, tunnel
from mitmproxy.proxy.layers import http, tcp, tls, websocket

from appliance.engine.options import LayerOptions

READ = re.compile(r"context\.options\.([a-z_0-9]+)")


def test_the_pinned_version_is_installed() -> None:
    assert importlib.metadata.version("mitmproxy") == "12.2.3"


def test_security_it_cannot_sign_with_a_compromised_public_ca() -> None:
    """Newer wheels carry the private key of a publicly trusted intermediate, and options to sign leaves with it."""
    package = Path(inspect.getfile(mitmproxy)).parent
    sources = [package / "options.py", package / "certs.py", *package.glob("addons/*.py")]
    assert not [path for path in sources if "emudhra" in path.read_text().lower()]
    assert "PRIVATE KEY" not in inspect.getsource(mitmproxy.certs)
    assert not [name for name in dir(mitmproxy.options.Options()) if "emudhra" in name]


def test_every_option_the_layers_read_is_there() -> None:
    folder = Path(inspect.getfile(http)).parent
    files = [Path(inspect.getfile(module)) for module in (layer, tunnel, tls, tcp, websocket)]
    files += [*folder.glob("_http[12]*.py"), folder / "__init__.py", folder / "_base.py"]
    read = {name for path in files for name in READ.findall(path.read_text())}
    assert read <= {field.name for field in dataclasses.fields(LayerOptions)}


def test_the_handler_still_has_what_ours_replaces() -> None:
    for name in ("handle_connection", "open_connection", "server_event", "handle_hook", "close_connection", "wakeup"):
        assert callable(getattr(server.ConnectionHandler, name))
