"""Keycloak with the realms of test clients that the chart soma-infra also imports.

Its database is a file in its folder: restarted, it has its keys, its clients and
the revoked tokens.
"""

from __future__ import annotations

import base64
import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster.environment import local_paths
from devcluster.loopback.server_process import (
    HOST,
    ServerProcess,
    free_ports,
    http_answers,
    running,
    temporary_folder,
    tool,
)

REALM = "somabrain"
SERVICE = ("sb", "sb-secret")
"""Client id and secret with which the memory service introspects tokens."""
ADMIN = {"username": "admin", "password": "admin", "client_id": "admin-cli", "grant_type": "password"}
RUNNER = "io.quarkus.bootstrap"
# The Java options of kc.sh, with a small heap and a quick start. Not kc.sh itself: its Java process would outlive it.
JAVA = (
    "-Xms64m",
    "-Xmx384m",
    "-XX:MaxMetaspaceSize=256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.security=ALL-UNNAMED",
    "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
    f"-Djava.util.concurrent.ForkJoinPool.common.threadFactory={RUNNER}.forkjoin.QuarkusForkJoinWorkerThreadFactory",
)

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Keycloak:
    """Keycloak on loopback. The secret of the client `x` is `x-secret`."""

    url: str
    process: ServerProcess

    def issuer(self, realm: str = REALM) -> str:
        """Return the `iss` of a realm's tokens."""
        return f"{self.url}/realms/{realm}"

    def endpoint(self, name: str, realm: str = REALM) -> str:
        """Return the URL of `token`, `token/introspect`, `revoke` or `certs` (the JWKS) of a realm."""
        return f"{self.issuer(realm)}/protocol/openid-connect/{name}"

    def token(self, client: str, realm: str = REALM) -> str:
        """Return an access token of a client, from its credentials (RFC 6749, 4.4)."""
        form = {"grant_type": "client_credentials"}
        return str(self._form(self.endpoint("token", realm), form, (client, f"{client}-secret"))["access_token"])

    def introspect(self, token: str, realm: str = REALM) -> dict[str, Any]:
        """Return the introspection response for a token (RFC 7662), as the memory service receives it."""
        return self._form(self.endpoint("token/introspect", realm), {"token": token}, SERVICE)

    def revoke(self, token: str, client: str, realm: str = REALM) -> None:
        """Revoke an access token (RFC 7009): introspection reports it as inactive from then on."""
        form = {"token": token, "token_type_hint": "access_token"}
        self._form(self.endpoint("revoke", realm), form, (client, f"{client}-secret"))

    def rotate_keys(self, realm: str = REALM) -> None:
        """Sign with a new key from then on; the old key stays published."""
        key = {
            "name": "rotated",
            "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "config": {"priority": ["1000"], "algorithm": ["RS256"], "keySize": ["2048"]},
        }
        self.admin("POST", f"/{realm}/components", key)

    def admin(self, method: str, path: str, body: object = None) -> Any:
        """Call the admin API below /admin/realms, and return its response."""
        token = self._form(self.endpoint("token", "master"), ADMIN)["access_token"]
        request = urllib.request.Request(
            f"{self.url}/admin/realms{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            method=method,
        )
        return _answer(request)

    def _form(self, url: str, form: Mapping[str, str], basic: tuple[str, str] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Basic {base64.b64encode(':'.join(basic).encode()).decode()}"} if basic else {}
        answer = _answer(urllib.request.Request(url, urllib.parse.urlencode(form).encode(), headers))
        return dict(answer or {})


@contextmanager
def keycloak() -> Iterator[Keycloak]:
    """Start Keycloak with the chart's realms, and stop it at the end of the block.

    Raises:
        LocalError: the program is missing; the message has the command that builds it.
        Timeout: it did not become ready; the message ends with its log.
    """
    with temporary_folder("keycloak") as home:
        installation = tool("kc.sh").resolve().parent
        (distribution,) = installation.glob("keycloak-*")
        for part in ("lib", "conf", "providers", "themes"):
            (home / part).symlink_to(distribution / part)
        shutil.copytree(local_paths().checkout / "helm/charts/soma-infra/files/auth/realms", home / "data" / "import")
        port, management = free_ports(2)
        argv = [
            tool("java"),
            *JAVA,
            f"-Dkc.home.dir={home}",
            f"-Djboss.server.config.dir={home}/conf",
            "-cp",
            f"{home}/lib/quarkus-run.jar",
            f"{RUNNER}.runner.QuarkusEntryPoint",
            "start",
            "--optimized",
            "--import-realm",
            "--cache=local",
            "--hostname-strict=false",
            "--http-enabled=true",
            f"--http-host={HOST}",
            f"--http-port={port}",
            f"--http-management-port={management}",
        ]
        env = {"KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN["username"], "KC_BOOTSTRAP_ADMIN_PASSWORD": ADMIN["password"]}
        ready = http_answers(f"http://{HOST}:{management}/health/ready")
        process = ServerProcess(argv, Path(home) / "keycloak.log", ready, env, start_timeout_s=300)
        with running(process):
            yield Keycloak(f"http://{HOST}:{port}", process)


def _answer(request: urllib.request.Request) -> Any:
    with _opener.open(request, timeout=60) as response:
        text = response.read()
    return json.loads(text) if text else None
