"""A server of one file on this machine, and what can go wrong with one."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """Serves one file while it is entered.

    Attributes:
        content: of the file.
        ranges: whether it begins in the middle when it is asked to.
        ends: for each request to come after how many bytes it closes the connection; None: not before the end.
        silent: whether it goes on waiting there in the place of closing.
        there: called where it ends a request.
        refusals: for each request to come what it answers in the place of the file: a status.
        headers: what it says whatever is right: Content-Range, Content-Length.
        asked: the Range of each request so far, None where there was none.
    """

    content: bytes
    ranges: bool = True
    ends: list[int | None] = field(default_factory=list)
    silent: bool = False
    there: Callable[[], None] = lambda: None
    refusals: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)

    def __enter__(self) -> FileServer:
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where the file is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/file.tar?download=1"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        if self.refusals:
            request.send_error(self.refusals.pop(0))
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.ranges else 0
        if start and start >= len(self.content):
            request.send_error(416)
            return
        end = (self.ends.pop(0) if self.ends else None) or len(self.content)
        self._send(request, start, end)

    def _send(self, request: BaseHTTPRequestHandler, start: int, end: int) -> None:
        size = len(self.content)
        headers = {"Content-Length": str(size - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        request.send_response(206 if start else 200)
        for name, value in {**headers, **self.headers}.items():
            request.send_header(name, value)
        request.end_headers()
        with contextlib.suppress(ConnectionError):  # the client has gone
            request.wfile.write(self.content[start:end])
        if end < size:
            self.there()
            if self.silent:
                self._over.wait()
        request.close_connection = True


def _handler(server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
