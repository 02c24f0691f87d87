"""Vault in memory: unsealed, with a KV version 2 store at `secret`. Its data is lost when it is stopped."""

from __future__ import annotations

import json
import secrets
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from devcluster.loopback.server_process import (
    HOST,
    ServerProcess,
    free_ports,
    http_answers,
    running,
    temporary_folder,
    tool,
)

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Vault:
    """Vault on loopback."""

    url: str
    process: ServerProcess
    root_token: str = field(repr=False)

    def put(self, path: str, values: Mapping[str, str]) -> None:
        """Set the values at `secret/data/<path>`."""
        self.call("POST", f"secret/data/{path}", {"data": dict(values)})

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Call the API below /v1 as root, and return its response."""
        request = urllib.request.Request(
            f"{self.url}/v1/{path}",
            None if body is None else json.dumps(body).encode(),
            {"X-Vault-Token": self.root_token},
            method=method,
        )
        with _opener.open(request, timeout=30) as response:
            text = response.read()
        return json.loads(text) if text else None


@contextmanager
def vault() -> Iterator[Vault]:
    """Start Vault, and stop it at the end of the block. Restarted, it is empty and has the same root token.

    Raises:
        LocalError: the binary is missing; the message has the command that builds it.
        Timeout: it did not become ready; the message ends with its log.
    """
    with temporary_folder("vault") as folder:
        (port,) = free_ports(1)
        url, token = f"http://{HOST}:{port}", secrets.token_urlsafe(24)
        argv = [tool("vault"), "server", "-dev", "-dev-no-store-token", f"-dev-listen-address={HOST}:{port}"]
        env = {"VAULT_DEV_ROOT_TOKEN_ID": token, "HOME": str(folder)}
        with running(ServerProcess(argv, folder / "vault.log", http_answers(f"{url}/v1/sys/health"), env)) as process:
            yield Vault(url, process, token)
