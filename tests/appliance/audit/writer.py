"""A worker for the tests: records tasks as fast as it can, and says which ones it could release.

python -m tests.appliance.audit.writer SPOOL ACKNOWLEDGED WORKER
"""

import os
import sys
from pathlib import Path

from appliance.audit.recorder import Recorder
from appliance.audit.spool import Spool
from tests.appliance.audit.samples import full_task


def main(directory: str, acknowledged: str, worker: str) -> None:
    recorder = Recorder(Spool(Path(directory), int(worker), 1 << 30, segment_bytes=200_000))
    fd = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    number = 0
    while True:
        name = f"{worker}-{number:08d}"
        recorder.record(full_task(task_id=name))
        os.write(fd, f"{name}\n".encode())
        number += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
