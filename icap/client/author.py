"""ICAP requests, from what is to be adapted and what the service understands."""

from typing import Final

from icap.client.address import ServiceAddress
from icap.client.body import Body, length_of
from icap.client.identity import identity_fields, plain_value
from icap.client.message import Message
from icap.client.tuning import Tuning
from icap.protocol import Field, Headers, Request, ServiceOptions, Transfer

_AGENT: Final = ("User-Agent", "Arcus")


class Author:
    """Writes the requests to one service. Pure: it sends nothing."""

    def __init__(self, address: ServiceAddress, tuning: Tuning) -> None:
        self._address = address
        self._tuning = tuning
        self._fixed: tuple[Field, ...] = (("Host", address.authority), _AGENT)

    def question(self) -> Request:
        """OPTIONS (RFC 3507 section 4.10)."""
        return Request("OPTIONS", self._address.uri, Headers((*self._fixed, ("Allow", "204"))))

    def request(self, message: Message, options: ServiceOptions) -> Request:
        """What the service is sent for a message: its preview, identity and promises as both sides know them."""
        body = message.body
        size = length_of(body)
        whole = not isinstance(body, Body)
        allow = "204, 206" if whole and self._tuning.allow_206 and "206" in options.allow else "204"
        who = identity_fields(message.identity) if self._tuning.send_identity else ()
        task_id = plain_value(message.task_id)
        named = (("X-Request-ID", task_id),) if task_id else ()
        preview = None
        if size and self._tuning.previews and options.preview is not None:
            # The preview is what is there (RFC 3507 section 4.5): a shorter body lowers it.
            preview = min(options.preview, size) if transfer(message, options) is Transfer.PREVIEW else None
        return Request(
            message.method,
            self._address.uri,
            Headers((*self._fixed, ("Allow", allow), *who, *named)),
            bytes(message.request_head) or None,
            bytes(message.response_head) if message.response_head is not None else None,
            bool(size),
            preview,
        )


def transfer(message: Message, options: ServiceOptions) -> Transfer:
    """How the service wants this body: by the path of the request's URL; without a request every body is previewed."""
    if not options.by_extension:
        return Transfer.PREVIEW
    target = bytes(message.request_head).split(b" ", 2)[1:2]
    url = target[0].decode("latin-1") if target else ""
    return options.transfer(url if url.startswith("/") else url.partition("://")[2].partition("/")[2])
