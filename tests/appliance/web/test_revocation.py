"""The paths below /pki/: public, and what they answer comes from elsewhere."""

from dataclasses import replace

import pytest

from appliance.domain.errors import ConfigError
from appliance.web.app import build
from certs.revocation_answers import HttpAnswer
from tests.appliance.web.stage import Stage


async def test_method_path_and_body_are_handed_on_and_no_token_is_asked_for(made: Stage) -> None:
    client = made.client()
    assert (await client.get("/pki/aa/ca.crl")).body == b"GET /pki/aa/ca.crl "
    # base64 may hold slashes, two in a row as well, and plus signs
    assert (await client.get("/pki/aa/ocsp/MG//x+%2Fa%3D")).body == b"GET /pki/aa/ocsp/MG//x+/a= "
    posted = await client.request("POST", "/pki/aa/ocsp", {"content-type": "application/ocsp-request"}, b"\x30\x00")
    assert posted.body == b"POST /pki/aa/ocsp \x30\x00"


async def test_headers_and_status_are_those_of_the_answer(made: Stage) -> None:
    kept = (("Content-Type", "application/pkix-crl"), ("Cache-Control", "public, max-age=5"))
    app = build(replace(made.services, revocations=lambda *_: HttpAnswer(405, b"", kept)))
    made.app = app
    reply = await made.client().get("/pki/aa/ca.crl")
    assert (reply.status, reply.header("content-type")) == (405, "application/pkix-crl")
    assert reply.header("cache-control") == "public, max-age=5"


def broken(*_: object) -> HttpAnswer:
    raise ConfigError([])


@pytest.mark.parametrize(("revocations", "status"), [(None, 404), (broken, 503), (lambda *_: HttpAnswer(404), 404)])
async def test_what_cannot_be_answered(made: Stage, revocations, status: int) -> None:
    made.app = build(replace(made.services, revocations=revocations))
    reply = await made.client().get("/pki/aa/ca.crl")
    assert reply.status == status
    assert reply.json["advice"]


@pytest.mark.security
async def test_a_body_beyond_the_listener_s_limit_is_refused(made: Stage) -> None:
    assert (await made.client().request("POST", "/pki/aa/ocsp", body=bytes(17 * 1024))).status == 413
