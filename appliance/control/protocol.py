"""What is said on the parent's control socket: one line of JSON, one line of JSON back, and the end."""

import json
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.domain.errors import ArcusError
from appliance.domain.text import printable

SOCKET = "control.sock"
"""In ``state_dir/run``."""
VERSION: Final = 1
MAX_REQUEST = 16 * 1024
"""Octets of a request, its line feed included."""
MAX_ANSWER = 4 * 1024 * 1024


class ProtocolError(ArcusError):
    """What came is not a request. The text is for whoever sent it."""


class Request(BaseModel):
    """``config``: the file to reload; absent: the one that runs."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1]
    command: Literal["reload", "status"]
    config: str | None = Field(None, min_length=1, max_length=4096)


def read_request(line: bytes) -> Request:
    """Raises ProtocolError for everything but one well-formed request."""
    if len(line) > MAX_REQUEST:
        raise ProtocolError(f"a request has at most {MAX_REQUEST} octets")
    try:
        request = Request.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ProtocolError(printable(f"not a request: {where + ': ' if where else ''}{first['msg']}", 200)) from error
    if request.config is not None and "\0" in request.config:
        raise ProtocolError("not a request: config: no path has a zero octet")
    return request


def write_request(command: Literal["reload", "status"], config: str | None = None) -> bytes:
    """Raises ValidationError for what ``read_request`` would refuse."""
    return Request(version=VERSION, command=command, config=config).model_dump_json(exclude_none=True).encode() + b"\n"


def write_answer(answer: dict[str, Any]) -> bytes:
    return json.dumps({"version": VERSION, **answer}).encode() + b"\n"


def read_answer(line: bytes) -> dict[str, Any]:
    """Raises ProtocolError when it is none, or was cut short."""
    try:
        answer = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or answer.get("version") != VERSION:
        raise ProtocolError("the answer of the running Arcus is not understood: is it of another version?")
    return answer
