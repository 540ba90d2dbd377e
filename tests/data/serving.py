"""A web server on this machine that misbehaves on demand."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """One file, and how it is served: each request takes the first of ``breaks`` and ``statuses``, where there is one.

    ``asked`` collects the requests' Range headers, ``sent`` the bytes of the bodies.
    """

    content: bytes
    ranges: bool = True
    length: int | None = None  # announced, where it is not the true one
    chunked: bool = False
    statuses: list[int] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)  # bytes of the body after which the connection ends
    location: str | None = None
    first: int | None = None  # that a 206 says it begins at
    asked: list[str | None] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    url: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        status = self.statuses.pop(0) if self.statuses else 200
        if self.location is not None and request.path != "/here.zip":
            request.send_response(302)
            request.send_header("Location", self.location)
            request.end_headers()
            return
        if status != 200:
            request.send_response(status)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if start and start >= len(self.content):
            request.send_response(416)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        body = self.content[start:]
        request.send_response(206 if start else 200)
        if start:
            first, last = start if self.first is None else self.first, len(self.content)
            request.send_header("Content-Range", f"bytes {first}-{last - 1}/{last}")
        if self.chunked:
            request.send_header("Transfer-Encoding", "chunked")
        else:
            request.send_header("Content-Length", str(len(body) if self.length is None else self.length))
        request.end_headers()
        whole = body
        if self.breaks:
            body = body[: self.breaks.pop(0)]
        request.wfile.write(b"%x\r\n%b\r\n" % (len(body), body) if self.chunked else body)
        if self.chunked and body == whole:
            request.wfile.write(b"0\r\n\r\n")
        self.sent.append(len(body))
        request.close_connection = True


@contextmanager
def serving(content: bytes, **how) -> Iterator[Served]:
    served = Served(content, **how)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            served.answer(self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    served.url = f"http://127.0.0.1:{server.server_port}/file.zip"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
