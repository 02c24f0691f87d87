"""A forwarder between an operator and the API server that can freeze, close and refuse connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Forwarder:
    """A listener on loopback that passes bytes on."""

    target: str
    listener: socket.socket
    frozen: threading.Event = field(default_factory=threading.Event)
    connections: list[socket.socket] = field(default_factory=list)
    refuses: bool = False

    @property
    def url(self) -> str:
        """The URL that it listens on."""
        return f"https://127.0.0.1:{self.listener.getsockname()[1]}"

    def freeze(self) -> None:
        """Stop passing bytes over the connections open now, which stay open; later ones work."""
        self.frozen.set()
        self.frozen = threading.Event()

    def cut(self) -> None:
        """Close the connections open now, as a load balancer that restarts; later ones work."""
        for each in self.connections:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.connections.clear()

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """Refuse connections until the end of the block, as while the API server restarts."""
        self.refuses = True
        self.cut()
        yield
        self.refuses = False

    def accept(self) -> None:
        """Accept connections until the listener is closed."""
        address = urlsplit(self.target)
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                if self.refuses:
                    near.close()
                    continue
                try:
                    far = socket.create_connection((address.hostname or "", address.port or 0))
                except OSError:  # what it stands before is down
                    near.close()
                    continue
                self.connections += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_copy, args=(source, sink, self.frozen), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket, frozen: threading.Event) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            if not frozen.is_set():
                sink.sendall(data)
    if not frozen.is_set():
        with suppress(OSError):  # also where the source was reset: its other side must not wait for it
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def forwarder(target: str) -> Iterator[Forwarder]:
    """Run a forwarder until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = Forwarder(target, listener)
        threading.Thread(target=running.accept, daemon=True).start()
        yield running
        listener.shutdown(socket.SHUT_RDWR)
    for each in running.connections:
        each.close()
