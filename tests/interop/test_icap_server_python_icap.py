"""python-icap from PyPI against our server. Its package is called ``icap`` as ours is, so it lives in a folder of its own."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.icap.server.serving import Running, WholeBodyScanner, serving

pytestmark = pytest.mark.integration
PINNED = "python-icap==0.2.0 --hash=sha256:b648d55b68abe387849a124d1b4a443801342a566afd2141f4515953ed4bd738\n"
PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
import icap
assert icap.__file__.startswith(sys.argv[1]), icap.__file__
port, said = int(sys.argv[2]), []

def tell(answer):
    said.append([answer.status_code, answer.is_no_modification, answer.headers.get("X-Virus-ID"), len(answer.body or b"")])

request = b"GET http://h.test/f HTTP/1.1\\r\\nHost: h.test\\r\\n\\r\\n"
post = b"POST http://h.test/f HTTP/1.1\\r\\nHost: h.test\\r\\nContent-Length: 8\\r\\n\\r\\nbad body"
head = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n"

def ask(body, **how):
    # a connection each: after an answer with a body it reads that body's last line break as the next answer
    with icap.IcapClient("127.0.0.1", port) as client:
        tell(client.respmod("respmod", request, head % len(body) + body, **how))

with icap.IcapClient("127.0.0.1", port) as client:
    tell(client.options("respmod"))
    for _ in range(3):
        tell(client.respmod("respmod", request, head % 5 + b"clean"))
for body in (b"bad body", b"x" * 100_000, b""):
    ask(body)
    if body:  # of an empty one it does not say that its preview is the whole
        ask(body, preview=8)
with icap.IcapClient("127.0.0.1", port) as client:
    tell(client.reqmod("reqmod", post[:-8], post[-8:]))
with icap.IcapClient("127.0.0.1", port) as client:
    tell(client.scan_bytes(b"bad body", service="respmod"))
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("python-icap")
    (directory / "pinned.txt").write_text(PINNED)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [*command, "--target", str(directory / "lib"), "-r", str(directory / "pinned.txt")], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"python-icap cannot be had: {done.stderr.strip().splitlines()[-1:]}")
    return directory / "lib"


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    async with serving(WholeBodyScanner(needle=b"bad")) as found:
        yield found


async def test_icp_12_python_icap_gets_the_right_answers(running: Running, package: Path, tmp_path: Path) -> None:
    """ICAP-S05, ICAP-S06, ICAP-S09, ICAP-S16"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(package), str(running.port), cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    told = json.loads(out)
    found, clean = (200, "Needle"), (204, None)
    assert told[0][0] == 200
    assert [(status, virus) for status, _, virus, _ in told[1:]] == [clean] * 3 + [found] * 2 + [clean] * 3 + [found] * 2
