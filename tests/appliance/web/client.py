"""A browser without a network: requests go straight into the application, cookies are kept."""

import asyncio
import json
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import unquote, urlencode

from starlette.types import ASGIApp, Message

HTML = {"accept": "text/html,*/*"}


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    def __init__(self, app: ASGIApp, address: str = "127.0.0.1", host: str = "127.0.0.1:9090") -> None:
        self.app = app
        self.address = address
        self.host = host
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.raised: Exception | None = None

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.request("GET", path, headers)

    async def page(self, path: str, **headers: str) -> Reply:
        return await self.request("GET", path, HTML | headers)

    async def post(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> Reply:
        form = {"content-type": "application/x-www-form-urlencoded"}
        return await self.request("POST", path, HTML | form | headers, urlencode(fields or {}).encode())

    async def request(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Reply:
        given = {"host": self.host} | self.headers | {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        if self.cookies:
            given["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        raw = [(name.encode(), value.encode("latin-1")) for name, value in given.items() if value != ""]
        return await self.send(method, path, raw, body)

    async def send(self, method: str, path: str, raw: list[tuple[bytes, bytes]], body: bytes = b"") -> Reply:
        target, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": unquote(target), "raw_path": target.encode(), "query_string": query.encode(), "root_path": "",
            "headers": raw, "client": (self.address, 50_000), "server": ("127.0.0.1", 9090),
        }  # fmt: skip
        sent: list[Message] = []
        bodies = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Message:
            for message in bodies:
                return message
            await asyncio.Event().wait()  # the client stays until it has the whole answer
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message)

        try:
            await self.app(scope, receive, send)
        except Exception as error:  # Starlette answers, then raises again for the server's log
            self.raised = error
        head = [(name.decode(), value.decode("latin-1")) for name, value in sent[0]["headers"]]
        self._keep(head)
        return Reply(sent[0]["status"], head, b"".join(message.get("body", b"") for message in sent[1:]))

    def _keep(self, headers: list[tuple[str, str]]) -> None:
        for name, value in headers:
            if name == "set-cookie":
                for morsel in SimpleCookie(value).values():
                    if morsel["max-age"] == "0":
                        self.cookies.pop(morsel.key, None)
                    else:
                        self.cookies[morsel.key] = morsel.value
