"""Handlers as people write them for pyicap: nothing in them knows of this project."""

try:
    from pyicap import BaseICAPRequestHandler, ICAPError
except ImportError:  # pragma: no cover  the interface is ours as well
    from icap.server.pyicap_handler import BaseICAPRequestHandler, ICAPError


class EchoHandler(BaseICAPRequestHandler):
    def echo_OPTIONS(self):
        self.set_icap_response(200)
        self.set_icap_header(b"Methods", b"RESPMOD")
        self.set_icap_header(b"Service", b"Example echo")
        self.set_icap_header(b"Preview", b"0")
        self.set_icap_header(b"Transfer-Preview", b"*")
        self.set_icap_header(b"Options-TTL", b"3600")
        self.send_headers(False)

    def echo_RESPMOD(self):
        self.set_icap_response(200)
        self.set_enc_status(b" ".join(self.enc_res_status))
        for h in self.enc_res_headers:
            for v in self.enc_res_headers[h]:
                self.set_enc_header(h, v)

        # The code below is only copying some data.
        if not self.has_body:
            self.send_headers(False)
            return
        if self.preview:
            prevbuf = b""
            while True:
                chunk = self.read_chunk()
                if chunk == b"":
                    break
                prevbuf += chunk
            if self.ieof:
                self.send_headers(True)
                if len(prevbuf) > 0:
                    self.write_chunk(prevbuf)
                self.write_chunk(b"")
                return
            self.cont()
            self.send_headers(True)
            if len(prevbuf) > 0:
                self.write_chunk(prevbuf)
            while True:
                chunk = self.read_chunk()
                self.write_chunk(chunk)
                if chunk == b"":
                    break
        else:
            self.send_headers(True)
            while True:
                chunk = self.read_chunk()
                self.write_chunk(chunk)
                if chunk == b"":
                    break

    def keep_OPTIONS(self):
        self.set_icap_response(200)
        self.set_icap_header(b"Methods", b"REQMOD, RESPMOD")
        self.send_headers(False)

    def keep_REQMOD(self):
        self.no_adaptation_required()

    def keep_RESPMOD(self):
        self.no_adaptation_required()

    def block_OPTIONS(self):
        self.set_icap_response(200)
        self.set_icap_header(b"Methods", b"REQMOD")
        self.send_headers(False)

    def block_REQMOD(self):
        if b"blocked" in self.enc_req[1]:
            self.send_enc_error(403, "Forbidden", body="<p>no</p>")
        elif b"missing" in self.enc_req[1]:
            raise ICAPError(404)
        elif b"crash" in self.enc_req[1]:
            raise RuntimeError("a bug")
        elif b"silent" in self.enc_req[1]:
            return
        elif b"unfinished" in self.enc_req[1]:
            self.set_icap_response(200)
            self.set_enc_status(b"HTTP/1.1 200 OK")
            self.send_headers(True)
            self.write_chunk(b"half")
        elif b"inject" in self.enc_req[1]:
            self.set_icap_response(200)
            self.set_enc_status(b"HTTP/1.1 200 OK")
            self.set_enc_header(b"X-A", b"1\r\nX-Evil: 1")
            self.send_headers(False)
        elif b"rewrite" in self.enc_req[1]:
            self.set_icap_response(200)
            self.set_enc_request(b"GET http://other.test/ HTTP/1.1")
            for h in self.enc_req_headers:
                for v in self.enc_req_headers[h]:
                    self.set_enc_header(h, v)
            self.send_headers(False)
        elif b"swallow" in self.enc_req[1]:
            try:
                while self.read_chunk():
                    pass
            except Exception:
                pass
            self.set_icap_response(204)
            self.send_headers(False)
        else:
            self.no_adaptation_required()
