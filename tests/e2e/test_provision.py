"""A memory service from one Secret of an administrator: created, rotated, adopted again, and dropped on request."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Iterator
from uuid import uuid4

import pytest

from examples.kubectl import Kubectl, Object
from somabrain_client import MemoryClient
from somabrain_operator.kube.names import FINALIZER, RETAIN_DATABASE, RETRY_PROVISION, ROTATE_PASSWORDS
from tests.e2e.conftest import Measured
from tests.e2e.support.brains import Brain
from tests.e2e.support.operators import Release
from tests.e2e.support.postgres import Postgres
from tests.e2e.support.waiting import eventually
from tests.e2e.support.writers import writing

ADMIN = "admin"


@pytest.fixture(scope="module", autouse=True)
def _provisions(kubectl: Kubectl, installed: None) -> Iterator[None]:
    """The operator may provision databases, for these tests only."""
    Release(kubectl).upgrade("provision.enabled=true")
    yield
    Release(kubectl).upgrade()


def namespaced(kubectl: Kubectl, word: str) -> str:
    """Create a namespace with nothing in it."""
    name = f"e2e-{word}-{uuid4().hex[:5]}"
    kubectl.ensure_namespace(name)
    kubectl("label", "namespace", name, "e2e=true")
    return name


@pytest.fixture(scope="module")
def postgres(kubectl: Kubectl, _provisions: None) -> Iterator[Postgres]:
    """A server with a superuser that logs in over the network."""
    server = Postgres(kubectl, namespaced(kubectl, "postgres"))
    server.start()
    yield server
    kubectl("delete", "namespace", server.namespace, "--wait=false")


@pytest.fixture
def brain(kubectl: Kubectl, node_address: str, postgres: Postgres) -> Iterator[Brain]:
    """A SomaBrain that is not applied yet, in a namespace that has the administrator's Secret alone."""
    namespace = namespaced(kubectl, "provision")
    kubectl.apply(namespace, postgres.admin_secret(ADMIN))
    yield Brain(kubectl, node_address, namespace)
    kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")


def apply(brain: Brain, **provision: str) -> None:
    """Apply a SomaBrain that names the administrator's Secret and nothing else."""
    spec = {"database": {"provision": {"adminSecretRef": {"name": ADMIN}, **provision}}}
    brain.kubectl.apply(brain.namespace, brain.manifest(spec))


def database(brain: Brain) -> str:
    """Return the name of its database."""
    return f"{brain.namespace}_{brain.name}"


def secret(brain: Brain) -> Object:
    """Return the Secret that the operator created."""
    return brain.kubectl.get(brain.namespace, "secret", f"{brain.name}-database")


def app_dsn(brain: Brain) -> str:
    """Return the connection string in force."""
    return b64decode(secret(brain)["data"].get("app-dsn", "")).decode()


def annotate(brain: Brain, name: str, value: str) -> None:
    """Annotate the SomaBrain."""
    brain.kubectl("annotate", "sb", brain.name, "-n", brain.namespace, f"{name}={value}", "--overwrite")


def roles(postgres: Postgres, brain: Brain) -> list[str]:
    """Return the names of its roles, without the name of its database."""
    name = database(brain)
    rows = postgres.sql(f"SELECT rolname FROM pg_roles WHERE starts_with(rolname, '{name}') ORDER BY rolname")
    return [row.removeprefix(f"{name}_") for row in rows.split()]


def databases(postgres: Postgres) -> list[str]:
    """Return the names of all databases."""
    return postgres.sql("SELECT datname FROM pg_database ORDER BY datname").split()


async def wait_until_deleted(brain: Brain) -> None:
    """Wait until the SomaBrain is deleted."""
    await eventually(
        lambda: brain.kubectl.find(brain.namespace, "somabrain", brain.name), lambda now: now is None, "it stayed"
    )


async def remembered(client: MemoryClient) -> list[str]:
    """Return the texts that a query finds."""
    result = await client.recall("log", "dance")
    return [hit.memory.text for hit in result.hits]


async def test_one_admin_secret_suffices_and_rotation_fails_no_call(
    brain: Brain, postgres: Postgres, measured: Measured
) -> None:
    """From one Secret to Ready; new passwords reach the pods without a failed write, and the old ones are revoked."""
    await asyncio.to_thread(apply, brain)
    await brain.ready()
    assert await asyncio.to_thread(roles, postgres, brain) == ["app", "app_1", "owner", "worker", "worker_1"]
    former = await asyncio.to_thread(app_dsn, brain)
    async with brain.client() as client:
        await client.create_namespace("log")
        async with writing(client, "log") as book:
            await asyncio.to_thread(annotate, brain, ROTATE_PASSWORDS, "1")
            await eventually(lambda: app_dsn(brain), lambda now: "_app_2:" in now, "no new password")
            await eventually(
                lambda: roles(postgres, brain),
                lambda now: now == ["app", "app_2", "owner", "worker", "worker_2"],
                "the former roles stayed",
                timeout_s=180,
            )
            await brain.ready()
            await book.wait_for_more(20)
        assert await book.missing(client, "log") == []
        assert book.failures == []
    assert former != await asyncio.to_thread(app_dsn, brain)
    await brain.until("Provisioned", "True")
    measured(f"{len(book.acknowledged)} writes through a rotation of passwords, none failed, none missing")


async def test_postgresql_refusals_are_reported_until_resolved(brain: Brain, postgres: Postgres) -> None:
    """A wrong password, missing rights and an extension that the role may not create are reported until resolved.

    The role has no more than CREATEROLE and CREATEDB in the end.
    """
    user = f"admin_{uuid4().hex[:5]}"
    await asyncio.to_thread(postgres.sql, f"CREATE ROLE {user} LOGIN PASSWORD 'right'")
    await asyncio.to_thread(brain.kubectl.apply, brain.namespace, postgres.admin_secret(ADMIN, user, "wrong-password"))
    await asyncio.to_thread(apply, brain)
    await brain.until("Provisioned", "False", f'password authentication failed for user "{user}"')
    assert "wrong-password" not in str(await asyncio.to_thread(brain.resource))
    await asyncio.to_thread(brain.kubectl.apply, brain.namespace, postgres.admin_secret(ADMIN, user, "right"))
    await brain.until("Provisioned", "False", "PostgreSQL refused: permission denied to create role; the administrator")
    await asyncio.to_thread(postgres.sql, f"ALTER ROLE {user} CREATEROLE CREATEDB")
    await asyncio.to_thread(annotate, brain, RETRY_PROVISION, "1")
    await brain.until("Provisioned", "False", "let a superuser, or whom your provider lets create extensions, run in")
    await asyncio.to_thread(postgres.sql, "CREATE EXTENSION vector", database(brain))
    await asyncio.to_thread(annotate, brain, RETRY_PROVISION, "2")
    await brain.ready()


async def test_foreign_database_is_refused_and_unchanged(brain: Brain, postgres: Postgres) -> None:
    """A database that already exists is named with its owner, and nothing is created in it or beside it."""
    name = f"theirs_{uuid4().hex[:5]}"
    await asyncio.to_thread(postgres.sql, f"CREATE DATABASE {name}")
    await asyncio.to_thread(apply, brain, database=name)
    said = await brain.until("Provisioned", "False", f'The database "{name}" exists, belongs to the role "postgres"')
    assert "spec.database.provision.database" in said.message
    assert await asyncio.to_thread(postgres.sql, f"SELECT 1 FROM pg_roles WHERE starts_with(rolname, '{name}')") == ""
    assert await asyncio.to_thread(postgres.sql, "SELECT count(*) FROM pg_extension", name) == "1"


async def test_deleted_somabrain_leaves_database_for_adoption(brain: Brain, postgres: Postgres) -> None:
    """Deleting a SomaBrain leaves database and Secret without a finalizer; applying it again serves the memories."""
    await asyncio.to_thread(apply, brain)
    await brain.ready()
    assert "finalizers" not in (await asyncio.to_thread(brain.resource))["metadata"]
    async with brain.client() as client:
        await client.create_namespace("log")
        await client.remember("log", "Bees dance.")
    before = (await asyncio.to_thread(secret, brain))["metadata"]["uid"]
    await asyncio.to_thread(brain.kubectl, "delete", "sb", brain.name, "-n", brain.namespace)
    await wait_until_deleted(brain)
    assert database(brain) in await asyncio.to_thread(databases, postgres)
    await asyncio.to_thread(apply, brain)
    await brain.ready()
    assert (await asyncio.to_thread(secret, brain))["metadata"]["uid"] == before
    async with brain.client() as client:
        assert await remembered(client) == ["Bees dance."]


async def test_deletion_policy_delete_drops_only_own_database_and_roles(brain: Brain, postgres: Postgres) -> None:
    """With deletionPolicy Delete the database, its roles and the Secret are deleted with the SomaBrain, no others."""
    theirs = f"theirs_{uuid4().hex[:5]}"
    await asyncio.to_thread(postgres.sql, f"CREATE DATABASE {theirs}")
    await asyncio.to_thread(postgres.sql, f'CREATE ROLE "{database(brain)}_theirs"')
    await asyncio.to_thread(apply, brain, deletionPolicy="Delete")
    await brain.ready()
    assert (await asyncio.to_thread(brain.resource))["metadata"]["finalizers"] == [FINALIZER]
    await asyncio.to_thread(brain.kubectl, "delete", "sb", brain.name, "-n", brain.namespace, "--wait=false")
    await wait_until_deleted(brain)
    left = await asyncio.to_thread(databases, postgres)
    assert (database(brain) in left, theirs in left) == (False, True)
    assert await asyncio.to_thread(roles, postgres, brain) == ["theirs"]
    assert await asyncio.to_thread(brain.kubectl.find, brain.namespace, "secret", f"{brain.name}-database") is None


@pytest.mark.timeout(420)
async def test_unreachable_database_does_not_block_deletion(
    kubectl: Kubectl, node_address: str, measured: Measured
) -> None:
    """While the server is away a SomaBrain with deletionPolicy Delete reports it, and an annotation lets it be deleted.

    The namespace of another one is deleted without any help.
    """
    server = Postgres(kubectl, await asyncio.to_thread(namespaced, kubectl, "away"))
    await asyncio.to_thread(server.start)
    brains = [Brain(kubectl, node_address, await asyncio.to_thread(namespaced, kubectl, "stay")) for _ in range(2)]
    for brain in brains:
        await asyncio.to_thread(kubectl.apply, brain.namespace, server.admin_secret(ADMIN))
        await asyncio.to_thread(apply, brain, deletionPolicy="Delete")
    for brain in brains:
        await brain.ready()
    await asyncio.to_thread(server.stop)
    alone, with_namespace = brains
    await asyncio.to_thread(kubectl, "delete", "sb", alone.name, "-n", alone.namespace, "--wait=false")
    said = await eventually(
        lambda: alone.conditions()["Provisioned"], lambda now: "could not be dropped" in now.message, "nothing said"
    )
    assert "PostgreSQL cannot be reached" in said.message
    await asyncio.to_thread(annotate, alone, RETAIN_DATABASE, "true")
    await wait_until_deleted(alone)
    began = asyncio.get_running_loop().time()
    await asyncio.to_thread(kubectl, "delete", "namespace", with_namespace.namespace, "--timeout=120s", timeout_s=130)
    measured(f"a namespace deleted while its database was away in {asyncio.get_running_loop().time() - began:.0f} s")
    (pod,) = Release(kubectl).pods()
    log = (await asyncio.to_thread(pod.log)).splitlines()
    released = [line for line in log if "finalizer removed" in line and with_namespace.namespace in line]
    assert len(released) == 1
    for namespace in (server.namespace, alone.namespace):
        await asyncio.to_thread(kubectl, "delete", "namespace", namespace, "--wait=false")
