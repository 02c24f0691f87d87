"""Vault in memory: unsealed, with a KV store of version 2 at `secret`. What it holds is gone when it is stopped."""

from __future__ import annotations

import json
import secrets
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from somabrain_local.loopback.server_process import (
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
    """A Vault that answers on loopback."""

    url: str
    process: ServerProcess
    root_token: str = field(repr=False)

    def put(self, path: str, values: Mapping[str, str]) -> None:
        """Write what `secret/data/<path>` holds."""
        self.call("POST", f"secret/data/{path}", {"data": dict(values)})

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Call the API below /v1 as root, and return its answer."""
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
    """Start Vault, and stop it at the end of the block. Started again, it is empty and has the same root token.

    Raises:
        LocalError: the binary is missing; the message has the command that makes it.
        Timeout: it did not become ready; the message ends with its log.
    """
    with temporary_folder("vault") as folder:
        (port,) = free_ports(1)
        url, token = f"http://{HOST}:{port}", secrets.token_urlsafe(24)
        argv = [tool("vault"), "server", "-dev", "-dev-no-store-token", f"-dev-listen-address={HOST}:{port}"]
        env = {"VAULT_DEV_ROOT_TOKEN_ID": token, "HOME": str(folder)}
        with running(ServerProcess(argv, folder / "vault.log", http_answers(f"{url}/v1/sys/health"), env)) as process:
            yield Vault(url, process, token)
