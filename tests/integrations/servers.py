"""Real servers for the adapters' tests, run by the development environment: `python -m tests.integrations.servers`.

The frameworks conflict with the service and with each other, so their tests run in separate environments and reach
these servers by their ports. Commands come as lines of JSON on standard input, and each is answered by a line:
`{"command": "revoke", ...}` gives `{"result": ...}`; the first line answers no command and reports that all are ready.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs

from common.config.settings import DatabaseSettings
from devcluster.loopback import Opa, opa
from somabrain_service.admin.embedded_postgres import embedded_database
from somabrain_service.admin.migrate import migrate
from tests.integration.service.service_process import ServiceProcess, service

POLICIES = Path(__file__).parents[2] / "common" / "policy"
AUDIENCE = "somabrain"
QUOTA = 5
"""Maximum memories of a tenant at the limited service."""


class IdentityService:
    """Opaque bearer tokens and their introspection (RFC 7662)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.tenants: dict[str, str] = {}

    def issue(self, tenant: str) -> str:
        token = uuid.uuid4().hex
        self.tenants[token] = tenant
        return token

    def introspect(self, token: str) -> dict[str, object]:
        tenant = self.tenants.get(token)
        if tenant is None:
            return {"active": False}
        return {
            "active": True,
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": f"agent-of-{tenant}",
            "tenant": tenant,
            "exp": time.time() + 3600,
            "token_type": "Bearer",
        }


@contextmanager
def identity_service() -> Iterator[IdentityService]:
    """An identity service that runs until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            body = json.dumps(running.introspect(form["token"][0])).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
            """Write nothing: standard error belongs to the test."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running = IdentityService(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()


class Servers:
    """The servers, and the commands that a test may send them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.identity = stack.enter_context(identity_service())
        self.engine: Opa = stack.enter_context(opa(POLICIES))
        database = stack.enter_context(embedded_database(folder / "postgresql", DatabaseSettings()))
        migrate(database.owner_dsn, database.database, lambda _: None)
        self._folder = folder
        self._settings: dict[str, object] = {
            "postgres_dsn": database.dsn(database.database.app_role, "somabrain"),
            "worker_dsn": database.dsn(database.database.worker_role, "somabrain"),
            "grpc__host": "127.0.0.1",
            "grpc__port": 0,
            "grpc__shutdown_delay_s": 0,
            "http__host": "127.0.0.1",
            "http__port": 0,
            "encoder__kind": "minilm-l6-v2-int8",
            "auth__mode": "introspection",
            "auth__issuer": self.identity.url,
            "auth__introspection__address": self.identity.url,
            "auth__introspection__path": "/introspect",
            "auth__introspection__client_id": "somabrain",
            "auth__introspection__client_secret": "of-the-tests",
            "auth__tenant_claim": "/tenant",
            "auth__cache_s": 1,
            "policy__url": f"{self.engine.url}/v1/data/sb/policy",
            "policy__cache_s": 0,
        }
        self._first = ExitStack()
        stack.callback(lambda: self._first.close())  # noqa: PLW0108 - a restart replaces it
        self.brain = self._start(self._first)
        port = int(self.brain.address.rpartition(":")[2])
        self._settings["grpc__port"] = port  # a restart takes the same
        limited = {"grpc__port": 0, "quota__memories": QUOTA, "encoder__kind": "lexical"}
        self.limited = self._start(stack, **limited)

    def _start(self, stack: ExitStack, **more: object) -> ServiceProcess:
        running = stack.enter_context(service(self._folder, {**self._settings, **more}))
        running.wait_until_ready()
        return running

    def run(self, command: str, **arguments: str) -> object:
        """Run a command of a test."""
        match command:
            case "describe":
                return {"address": self.brain.address, "limited": self.limited.address, "quota": QUOTA}
            case "token":
                return self.identity.issue(arguments["tenant"])
            case "revoke":
                return self.identity.tenants.pop(arguments["token"])
            case "make_read_only":
                limits = json.dumps({"read_only_tenants": [arguments["tenant"]]}).encode()
                url = f"{self.engine.url}/v1/data/sb/limits"
                with urllib.request.urlopen(urllib.request.Request(url, limits, method="PUT"), timeout=5) as response:
                    return response.status
            case "restart":
                code = self.brain.stop()
                self._first.close()
                self._first = ExitStack()
                self.brain = self._start(self._first)
                return code
            case _:
                raise ValueError(f"{command} is not a command")


def main() -> None:
    """Start the servers, and run commands until standard input ends."""
    with (
        TemporaryDirectory(prefix="somabrain-integrations-", ignore_cleanup_errors=True) as folder,
        ExitStack() as stack,
    ):
        servers = Servers(Path(folder), stack)
        print(json.dumps({"result": servers.run("describe")}), flush=True)
        for line in sys.stdin:
            print(json.dumps({"result": servers.run(**json.loads(line))}), flush=True)


if __name__ == "__main__":
    main()
