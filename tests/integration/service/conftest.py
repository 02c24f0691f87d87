"""Real servers for the edge: PostgreSQL, an issuer, OPA, and the service over them, once for all tests here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devcluster.loopback import Opa, opa
from somabrain_client import MemoryClient, RetryPolicy
from somabrain_service.admin.embedded_postgres import DATABASE, EmbeddedDatabase
from tests.integration.service.issuer import Issuer, issuer
from tests.integration.service.service_process import ServiceProcess, service
from tests.support.clones import Clone, make_clone

Connect = Callable[..., MemoryClient]
POLICIES = Path(__file__).parents[3] / "common" / "policy"


@pytest.fixture(scope="session")
def folder(own_folder: Path) -> Path:
    created = own_folder / "service"
    created.mkdir()
    return created


@pytest.fixture(scope="session")
def postgres(database_server: EmbeddedDatabase) -> Iterator[Clone]:
    """A migrated database, for all tests here: each has separate tenants."""
    yield from make_clone(database_server, DATABASE)


@pytest.fixture(scope="session")
def idp() -> Iterator[Issuer]:
    with issuer() as running:
        yield running


@pytest.fixture(scope="session")
def engine() -> Iterator[Opa]:
    with opa(POLICIES) as running:
        yield running


@pytest.fixture(scope="session")
def settings(postgres: Clone, idp: Issuer, engine: Opa) -> dict[str, object]:
    """The settings of a pod, but on loopback and free ports, with lexical recall only (no encoder to load)."""
    return {
        "postgres_dsn": postgres.app_dsn,
        "grpc__host": "127.0.0.1",
        "grpc__port": 0,
        "grpc__shutdown_delay_s": 0,
        "http__host": "127.0.0.1",
        "http__port": 0,
        "encoder__kind": "lexical",
        "auth__issuer": idp.url,
        "auth__jwks_url": f"{idp.url}/keys",
        "auth__tenant_claim": "/tenant",
        "policy__url": f"{engine.url}/v1/data/sb/policy",
    }


@pytest.fixture(scope="session")
def brain(folder: Path, settings: dict[str, object]) -> Iterator[ServiceProcess]:
    """A running service that is ready."""
    with service(folder, settings) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def connect(brain: ServiceProcess, idp: Issuer) -> Connect:
    """Create a client of a tenant; it does not retry, so a test gets each response."""

    def make(tenant: str = "a", **options: object) -> MemoryClient:
        chosen: dict[str, object] = {"token": idp.token(tenant), "retry": RetryPolicy(max_attempts=1), **options}
        return MemoryClient(brain.address, **chosen)  # type: ignore[arg-type]

    return make
