"""A second, slow and literal reading of HTTP/1, written apart from the one under test: what it cannot read is not HTTP."""

from dataclasses import dataclass, field

TCHAR = set(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class NotHttp(Exception):
    pass


@dataclass
class Message:
    start: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    framing: str = "none"

    def get(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name]

    @property
    def names(self) -> set[bytes]:
        return {key.lower() for key, _ in self.fields}


def need(condition: object, what: str) -> None:
    if not condition:
        raise NotHttp(what)


def take_line(data: bytes) -> tuple[bytes, bytes]:
    line, found, rest = data.partition(b"\r\n")
    need(found, "line without CRLF")
    need(not set(line) & {0, 10, 13}, "CR, LF or NUL in a line")
    return line, rest


def take_fields(data: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    fields: list[tuple[bytes, bytes]] = []
    while True:
        line, data = take_line(data)
        if not line:
            return fields, data
        name, colon, value = line.partition(b":")
        need(colon and name and set(name) <= TCHAR, f"field name {name!r}")
        value = value.strip(b" \t")
        need(all(octet == 9 or (octet >= 32 and octet != 127) for octet in value), "control octet in a value")
        fields.append((name, value))


def take_chunked(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    body = b""
    while True:
        line, data = take_line(data)
        need(line and set(line) <= set(b"0123456789abcdef"), f"chunk size {line!r}")
        size = int(line, 16)
        if size == 0:
            trailers, data = take_fields(data)
            return body, trailers, data
        need(data[size : size + 2] == b"\r\n", "chunk without CRLF")
        body, data = body + data[:size], data[size + 2 :]


def take_body(message: Message, data: bytes, *, bodiless: bool, until_close: bool) -> bytes:
    te, cl = message.get(b"transfer-encoding"), message.get(b"content-length")
    need(len(te) + len(cl) <= 1, "more than one framing field")
    if bodiless:
        return data
    if te:
        need(te == [b"chunked"], f"transfer-encoding {te}")
        message.framing = "chunked"
        message.body, message.trailers, data = take_chunked(data)
    elif cl:
        need(cl[0].isdigit(), "content-length")
        message.framing = "fixed"
        size = int(cl[0])
        need(len(data) >= size, "body incomplete")
        message.body, data = data[:size], data[size:]
    elif until_close:
        message.framing, message.body, data = "close", data, b""
    return data


def read_requests(data: bytes) -> list[Message]:
    messages = []
    while data:
        line, data = take_line(data)
        parts = line.split(b" ")
        need(len(parts) == 3 and all(parts), f"request line {line!r}")
        need(set(parts[0]) <= TCHAR and parts[2] in (b"HTTP/1.1", b"HTTP/1.0"), f"request line {line!r}")
        need(all(0x21 <= octet <= 0x7E for octet in parts[1]) and b"#" not in parts[1], "request target")
        fields, data = take_fields(data)
        message = Message(line, fields)
        need(len(message.get(b"host")) == 1, "exactly one Host")
        data = take_body(message, data, bodiless=False, until_close=False)
        messages.append(message)
    return messages


def read_responses(data: bytes, methods: list[bytes], *, closed: bool) -> list[Message]:
    messages = []
    methods = list(methods)
    while data:
        line, data = take_line(data)
        parts = line.split(b" ", 2)
        need(len(parts) == 3 and parts[0] in (b"HTTP/1.1", b"HTTP/1.0") and len(parts[1]) == 3, f"status line {line!r}")
        status = int(parts[1])
        fields, data = take_fields(data)
        message = Message(line, fields)
        if 100 <= status < 200:
            messages.append(message)
            continue
        method = methods.pop(0) if methods else b"GET"
        bodiless = method == b"HEAD" or status in (204, 304)
        framed = bodiless or message.get(b"transfer-encoding") or message.get(b"content-length")
        need(framed or closed, "a response without length on an open connection")
        data = take_body(message, data, bodiless=bool(bodiless), until_close=True)
        messages.append(message)
    return messages
