"""etcd, one member: what the API server stores in, and where flags are kept."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from somabrain_local.loopback.program import Program, free_ports, http_answers, own_folder, running, tool

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Etcd:
    """An etcd that answers on loopback: gRPC and its JSON gateway on one port."""

    url: str
    program: Program

    def put(self, key: str, value: str) -> int:
        """Write one key, and return the revision it made."""
        return int(self._post("kv/put", {"key": _encoded(key), "value": _encoded(value)})["header"]["revision"])

    def get(self, key: str) -> str | None:
        """Return the value of one key, or None when there is none."""
        found = self._post("kv/range", {"key": _encoded(key)}).get("kvs", [])
        return base64.b64decode(found[0].get("value", "")).decode() if found else None

    def delete(self, key: str) -> int:
        """Delete one key, and return the revision after it."""
        return int(self._post("kv/deleterange", {"key": _encoded(key)})["header"]["revision"])

    def compact(self, revision: int) -> None:
        """Forget all that is older than `revision`: a watch from before it is cancelled."""
        self._post("kv/compaction", {"revision": revision, "physical": True})

    def _post(self, path: str, body: object) -> Any:
        request = urllib.request.Request(f"{self.url}/v3/{path}", json.dumps(body).encode())
        with _opener.open(request, timeout=10) as response:
            return json.load(response)


@contextmanager
def etcd() -> Iterator[Etcd]:
    """Start etcd, empty, and stop it at the end of the block. Started again, it has its data.

    Raises:
        LocalError: the binary is missing; the message has the command that makes it.
        Timeout: it did not become healthy; the message ends with its log.
    """
    with own_folder("etcd") as folder:
        started = etcd_program(folder)
        with running(started.program):
            yield started


def etcd_program(folder: Path) -> Etcd:
    """Return an etcd that keeps its data in `folder`, not started yet."""
    client, peer = free_ports(2)
    url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    argv = [
        tool("etcd"), "--data-dir", f"{folder}/etcd", "--unsafe-no-fsync", "--log-level", "warn",
        "--listen-client-urls", url, "--advertise-client-urls", url,
        "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
        "--initial-cluster", f"default={peer_url}",
    ]  # fmt: skip
    return Etcd(url, Program(argv, folder / "etcd.log", http_answers(f"{url}/readyz")))


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
