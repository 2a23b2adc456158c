"""A foreign ICAP server for tests, on pyicap: it blocks what holds EICAR's text and adds a header to every page.

Run as a program with a port. pyicap looks up ``collections.Callable``, which Python 3.10 removed.
"""

import collections
import collections.abc
import sys

collections.Callable = collections.abc.Callable  # type: ignore[attr-defined]

from pyicap import BaseICAPRequestHandler, ICAPServer  # noqa: E402


class Handler(BaseICAPRequestHandler):
    def scan_OPTIONS(self) -> None:
        self.set_icap_response(200)
        self.set_icap_header(b"Methods", b"RESPMOD, REQMOD")
        self.set_icap_header(b"Preview", b"16")
        self.set_icap_header(b"Allow", b"204")
        self.send_headers(False)

    def scan_RESPMOD(self) -> None:
        body = self._read_all()
        if b"EICAR-STANDARD" in body:
            self._page()
        elif not body:
            self.no_adaptation_required()
        else:
            self._answer(body)

    def scan_REQMOD(self) -> None:
        body = self._read_all()
        if b"EICAR-STANDARD" in body:
            self._page()
        else:
            self.no_adaptation_required()

    def _read_all(self) -> bytes:
        body = self._read_chunks()
        if self.preview and not self.ieof:
            self.cont()
            body += self._read_chunks()
        return body

    def _read_chunks(self) -> bytes:
        pieces = []
        while self.has_body and (chunk := self.read_chunk()):
            pieces.append(chunk)
        return b"".join(pieces)

    def _page(self) -> None:
        self.set_icap_response(200)
        self.set_icap_header(b"X-Infection-Found", b"Type=0; Resolution=2; Threat=Foreign.Test;")
        self.set_enc_status(b"HTTP/1.1 403 Forbidden")
        self.set_enc_header(b"Content-Type", b"text/plain")
        self.send_headers(True)
        self.write_chunk(b"blocked")
        self.write_chunk(b"")

    def _answer(self, body: bytes) -> None:
        self.set_icap_response(200)
        self.set_enc_status(b" ".join(self.enc_res_status))
        for name, values in self.enc_res_headers.items():
            for value in values:
                self.set_enc_header(name, value)
        self.set_enc_header(b"X-Foreign", b"1")
        self.send_headers(True)
        self.write_chunk(body)
        self.write_chunk(b"")


if __name__ == "__main__":
    ICAPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
