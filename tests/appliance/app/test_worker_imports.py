"""A worker carries what the traffic path needs: each library more is memory in every worker, and a slower new start."""

import json
import subprocess
import sys

import pytest

UNUSED = ("sqlalchemy", "redis", "starlette", "uvicorn", "typer", "pkcs11")


@pytest.mark.integration
def test_a_worker_loads_no_database_web_or_command_line_library() -> None:
    code = "import json, sys, appliance.app.worker; print(json.dumps(sorted({n.partition('.')[0] for n in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=110)
    assert set(json.loads(done.stdout)).isdisjoint(UNUSED)
