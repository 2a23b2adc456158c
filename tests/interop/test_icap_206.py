"""206 with foreign clients: squid and c-icap-client against our server."""

import asyncio
import shutil
from pathlib import Path

import pytest

from icap.protocol import HttpHead, Request
from icap.server.adapt import Offer
from icap.server.edit import Edit, EditService
from icap.server.keep import KeepBudget
from icap.server.settings import ServerSettings
from tests.icap.server.serving import serving
from tests.proxies import nginx, squid

pytestmark = pytest.mark.integration
PAGE = b"<html>" + b"<p>text</p>" * 3000
SQUID = """
icap_enable on
icap_preview_enable on
icap_preview_size 1024
icap_206_enable on
icap_service_failure_limit -1
icap_service edit respmod_precache icap://127.0.0.1:{port}/edit bypass=off
adaptation_access edit allow all
"""


def editor(request: Request, head: HttpHead, beginning: bytes) -> Edit | None:
    if not beginning.startswith(b"<html>"):
        return None
    return Edit(HttpHead(head.start_line, (*head.fields, (b"X-Edited", b"1"))), b"<html><!-- seen -->", 6)


def service() -> EditService:
    return EditService(Offer("edit"), KeepBudget.of(ServerSettings()), frozenset(("RESPMOD",)), editor)


async def output(*command: str) -> bytes:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    return (await asyncio.wait_for(process.communicate(), 60))[0]


async def test_icap_c28_squid_puts_the_rest_behind_our_206(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_bytes(PAGE)
    (tmp_path / "plain.txt").write_bytes(b"text" * 1000)
    async with serving(services={"edit": service()}) as running:
        with nginx(server=f"root {tmp_path};") as origin, squid(extra=SQUID.format(port=running.port)) as proxy:
            base = ("curl", "-s", "-m", "40", "-x", f"http://127.0.0.1:{proxy.port}")
            edited = await output(*base, f"http://127.0.0.1:{origin.port}/page.html")
            plain = await output(*base, f"http://127.0.0.1:{origin.port}/plain.txt")
    assert edited == b"<html><!-- seen -->" + PAGE[6:]
    assert plain == b"text" * 1000
    assert [account.status for account in running.ledger.accounts if account.method == "RESPMOD"] == [206, 204]
    assert running.ledger.accounts[-2].received <= 1024  # the rest never came to us


@pytest.mark.skipif(shutil.which("c-icap-client") is None, reason="c-icap-client is not installed")
@pytest.mark.parametrize(("options", "status"), [(("-206",), 206), ((), 200)])
async def test_icap_c28_c_icap_client_takes_206_when_it_asked_for_it(
    tmp_path: Path, options: tuple[str, ...], status: int
) -> None:
    (tmp_path / "page").write_bytes(PAGE)
    async with serving(services={"edit": service()}) as running:
        command = ("c-icap-client", "-i", "127.0.0.1", "-p", str(running.port), "-s", "edit", "-f", str(tmp_path / "page"))
        said = await output(*command, "-o", str(tmp_path / "out"), "-v", *options)
    assert [account.status for account in running.ledger.accounts if account.method == "RESPMOD"] == [status]
    if status == 206:  # c-icap-client writes only what it had not read yet, to c-icap's own 206 as well
        assert b"Partial modification (Allow 206 response)" in said
    else:
        assert (tmp_path / "out").read_bytes() == b"<html><!-- seen -->" + PAGE[6:]
