"""A token endpoint on loopback, which returns the answers of a test."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class TokenEndpoint:
    """The endpoint: its answer, and the forms that it received."""

    url: str
    answer: dict[str, object]
    forms: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def token_endpoint(answer: dict[str, object]) -> Iterator[TokenEndpoint]:
    """An endpoint that runs until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            running.forms.append(dict(urllib.parse.parse_qsl(form)))
            body = json.dumps(running.answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running = TokenEndpoint(f"http://127.0.0.1:{server.server_port}/token", answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
