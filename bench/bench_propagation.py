"""Propagation delay of a change: a flag, a quota, the policy, a revoked token, a certificate.

    make bench-propagation

Each is measured in the worst case: a call has just been admitted, so the in-process caches are as fresh as possible.
The clock starts when the changed system has acknowledged the change, and stops with the first call that is affected;
calls are sequential, 20 ms apart. Exits with 1 if a change took longer than documented.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import socket
import ssl
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.server import somabrain
from common.config.settings import DatabaseSettings
from devcluster.loopback import Etcd, Keycloak, Opa, etcd, keycloak, opa
from devcluster.loopback.keycloak import SERVICE
from devcluster.pki import CertificateAuthority
from somabrain_client import CallError, MemoryClient, RetryPolicy, Tls
from somabrain_client.errors import NotFoundError
from somabrain_service.admin.embedded_postgres import embedded_database
from somabrain_service.admin.migrate import migrate

POLICIES = Path(__file__).parents[1] / "common" / "policy"
NAMESPACE = "propagation"
PAUSE_S = 0.02
MACHINE_S = 1.0
"""Tolerance added to a documented time for a busy machine."""


@dataclass(frozen=True)
class World:
    """Running servers, and the handles to change them."""

    address: str
    etcd: Etcd
    opa: Opa
    keycloak: Keycloak
    authority: CertificateAuthority
    certificates: Path

    def client(self, token: str) -> MemoryClient:
        """Return a client that does not retry."""
        tls = Tls(self.authority.certificate)
        return MemoryClient(self.address, token=token, tls=tls, retry=RetryPolicy(max_attempts=1))


@dataclass(frozen=True)
class Trial:
    """One change: how to make it, how to check that it has taken effect, and how to undo it."""

    make: Callable[[], object]
    took_effect: Callable[[], Awaitable[bool]]
    undo: Callable[[], object] | None = None


@dataclass(frozen=True)
class Change:
    """A kind of change, its documented maximum delay, and its trial."""

    what: str
    documented_s: float
    trial: Callable[[World], Trial]


def answers(world: World, token: str, code: str, namespace: str = NAMESPACE) -> Callable[[], Awaitable[bool]]:
    """Return a check whether Remember fails with `code`; NOT_FOUND means that the call was admitted."""

    async def took_effect() -> bool:
        async with world.client(token) as memory:
            try:
                await memory.remember(namespace, "The change has not taken effect yet.")
            except NotFoundError:
                return False
            except CallError as exc:
                if exc.code.name == code:
                    return True
                raise
        return False

    return took_effect


def flag(world: World) -> Trial:
    key = "/somabrain/flags/tenants/a/read_only"
    took_effect = answers(world, world.keycloak.token("a-admin"), "FAILED_PRECONDITION")
    return Trial(lambda: world.etcd.put(key, "true"), took_effect, lambda: world.etcd.delete(key))


def quota(world: World) -> Trial:
    key = "/somabrain/flags/tenants/a/memories"
    took_effect = answers(world, world.keycloak.token("a-admin"), "RESOURCE_EXHAUSTED")
    return Trial(lambda: world.etcd.put(key, "1"), took_effect, lambda: world.etcd.delete(key))


def policy(world: World) -> Trial:
    """Change the policy's data over OPA's API, for a namespace without a cached decision."""

    def limit(*tenants: str) -> None:
        body = json.dumps({"read_only_tenants": tenants}).encode()
        request = urllib.request.Request(f"{world.opa.url}/v1/data/sb/limits", body, method="PUT")
        urllib.request.urlopen(request, timeout=5).close()

    unknown = f"{NAMESPACE}-{time.monotonic_ns()}"
    took_effect = answers(world, world.keycloak.token("a-admin"), "PERMISSION_DENIED", unknown)
    return Trial(lambda: limit("a"), took_effect, limit)


def token(world: World) -> Trial:
    access_token = world.keycloak.token("a-admin")
    return Trial(
        lambda: world.keycloak.revoke(access_token, "a-admin"), answers(world, access_token, "UNAUTHENTICATED")
    )


def certificate(world: World) -> Trial:
    """Replace the certificate files, and check the certificate of a new connection."""
    host, port = world.address.split(":")
    name = f"server-{time.monotonic_ns()}"
    world.authority.issue_server(name, f"/CN={name}", [f"IP:{host}"])
    expected = ssl.PEM_cert_to_DER_cert((world.authority.folder / f"{name}.crt").read_text())
    context = ssl.create_default_context(cafile=str(world.authority.certificate))
    context.set_alpn_protocols(["h2"])

    def shown() -> bytes | None:
        with (
            socket.create_connection((host, int(port)), 5) as plain,
            context.wrap_socket(plain, server_hostname=host) as encrypted,
        ):
            return encrypted.getpeercert(binary_form=True)

    async def took_effect() -> bool:
        return await asyncio.to_thread(shown) == expected

    return Trial(lambda: install(world.authority, name, world.certificates), took_effect)


CHANGES = (
    Change("a flag in etcd", 1.0, flag),
    Change("a quota in etcd", 1.0, quota),
    Change("a certificate on disk", 1.0, certificate),
    Change("the policy's data in OPA", 5.0, policy),
    Change("a token revoked in Keycloak", 60.0, token),
)


def install(authority: CertificateAuthority, name: str, directory: Path) -> None:
    """Replace the server's certificate files."""
    for theirs, ours in ((f"{name}.crt", "tls.crt"), (f"{name}.key", "tls.key")):
        shutil.copyfile(authority.folder / theirs, directory / "new")
        (directory / "new").rename(directory / ours)


@contextmanager
def world() -> Iterator[World]:
    """Start PostgreSQL, etcd, OPA, Keycloak and the service, which caches for the default times."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="somabrain-propagation-")))
        folder.chmod(0o755)  # PostgreSQL runs as another user if this runs as root
        database = stack.enter_context(embedded_database(folder / "postgresql", DatabaseSettings()))
        migrate(database.owner_dsn, database.database, lambda _: None)
        flags, engine = stack.enter_context(etcd()), stack.enter_context(opa(POLICIES))
        central = stack.enter_context(keycloak())
        certificates = folder / "tls"
        certificates.mkdir()
        authority = CertificateAuthority.create(folder / "pki")
        authority.issue_server("server", "/CN=server", ["IP:127.0.0.1"])
        install(authority, "server", certificates)
        settings = {
            "postgres_dsn": database.app_dsn,
            "grpc__host": "127.0.0.1",
            "grpc__tls__cert_file": certificates / "tls.crt",
            "grpc__tls__key_file": certificates / "tls.key",
            "encoder__kind": "lexical",
            "policy__url": f"{engine.url}/v1/data/sb/policy",
            "flags__endpoints": json.dumps([flags.url]),
            "auth__mode": "introspection",
            "auth__issuer": central.issuer(),
            "auth__tenant_claim": "/tenant",
            "auth__scope_claim": "/scope",
            "auth__introspection__address": central.url,
            "auth__introspection__client_id": SERVICE[0],
            "auth__introspection__client_secret": SERVICE[1],
        }
        server = stack.enter_context(somabrain(["serve"], settings))
        yield World(server.address, flags, engine, central, authority, certificates)


async def measure(change: Change, world: World) -> float:
    """Return the seconds until one change took effect."""
    trial = await asyncio.to_thread(change.trial, world)
    assert not await trial.took_effect()
    await asyncio.to_thread(trial.make)
    seconds = await _until(trial, True, 3 * change.documented_s)
    if trial.undo:
        await asyncio.to_thread(trial.undo)
        await _until(trial, False, 3 * change.documented_s)
    return seconds


async def _until(trial: Trial, expected: bool, at_most_s: float) -> float:
    """Return the seconds until the change took effect, or, with `expected` False, was undone."""
    since = time.monotonic()
    while await trial.took_effect() is not expected:
        if time.monotonic() - since > at_most_s:
            sys.exit(f"The change had no effect within {at_most_s:g} s.")
        await asyncio.sleep(PAUSE_S)
    return time.monotonic() - since


async def run(world: World, rounds: int) -> int:
    """Measure all changes, print the results, and return the exit status."""
    async with world.client(world.keycloak.token("a-admin")) as memory:
        await memory.create_namespace(NAMESPACE)
        await memory.remember(NAMESPACE, "An existing memory.")
    late = 0
    print(f"{'change':<30}{'median':>10}{'longest':>10}{'documented':>12}")
    for change in CHANGES:
        seconds = [await measure(change, world) for _ in range(rounds)]
        over = max(seconds) > change.documented_s + MACHINE_S
        late += over
        print(
            f"{change.what:<30}{statistics.median(seconds):>8.2f} s{max(seconds):>8.2f} s{change.documented_s:>10g} s"
            f"{'  LATE' if over else ''}",
            flush=True,
        )
    return 1 if late else 0


def main() -> int:
    """Run the benchmark and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="number of times each change is made (default: 3)")
    options = parser.parse_args()
    with world() as running:
        return asyncio.run(run(running, options.rounds))


if __name__ == "__main__":
    sys.exit(main())
