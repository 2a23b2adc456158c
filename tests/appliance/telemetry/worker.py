"""A process that counts, for the tests.

    python -m tests.appliance.telemetry.worker DIRECTORY NUMBER

It counts NUMBER requests, says ``ready``, and ends in an orderly way when its input ends.
"""

import sys
from pathlib import Path

from appliance.telemetry.multiprocess import setup


def main(directory: str, number: str) -> None:
    setup(Path(directory))
    from appliance.telemetry.metrics import Metrics

    metrics = Metrics()
    for _ in range(int(number)):
        metrics.inc("arcus_server_connections_total", "in", "http")
        metrics.inc("arcus_server_connections_active", "in", "http")
        metrics.inc("arcus_server_requests_total", "in", "http")
        metrics.observe("arcus_server_response_seconds", "in", value=0.02)
    metrics.set("arcus_event_loop_lag_seconds", value=float(number))
    print("ready", flush=True)
    sys.stdin.read()
    for _ in range(int(number)):
        metrics.dec("arcus_server_connections_active", "in", "http")
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
