"""Where contenders race: namespaces, the origin, and an address for each of them."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.contenders import Site
from bench.origin import origin
from bench.topology import Topology, topology


@contextlib.contextmanager
def grounds(names: Sequence[str]) -> Iterator[tuple[Site, Topology]]:
    """``names``: hosts under ``.test``. Taken down at the end, with the folder of it all."""
    hosts = {f"{name}.test": f"10.99.1.{number}" for number, name in enumerate(names, 1)}
    with tempfile.TemporaryDirectory(prefix="arcus-bench-", ignore_cleanup_errors=True) as folder:
        base = Path(folder)
        base.chmod(0o755)  # squid's own user goes through it
        with topology(base, hosts) as network, origin(base, network.gateway, list(hosts)) as server:
            yield Site(base, network.gateway, server.ca, hosts), network
