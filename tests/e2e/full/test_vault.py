"""Connection strings that are only in Vault: read, with a wrong path, and changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from examples.kubectl import Kubectl, run
from tests.e2e.conftest import Measured
from tests.e2e.support.brains import Brain
from tests.e2e.support.database import INFRA, Database

pytestmark = pytest.mark.timeout(600)
OTHERS = ("redis", "etcd", "kafka", "auth", "collector")
FILE = "/run/somabrain/secrets/SOMABRAIN_POSTGRES_DSN"
KEYS = {"app-dsn": "SOMABRAIN_POSTGRES_DSN", "worker-dsn": "SOMABRAIN_WORKER_DSN", "owner-dsn": "SOMABRAIN_OWNER_DSN"}


@dataclass(frozen=True, slots=True)
class Vault:
    """The Vault of soma-infra, and the secret of one test module in it."""

    kubectl: Kubectl
    name: str

    def put(self, values: dict[str, str]) -> None:
        """Write all values of the module's secret."""
        words = " ".join(f"'{key}={value}'" for key, value in values.items())
        script = f"VAULT_TOKEN=$(cat /run/secrets/kv/.root-token) vault kv put -mount=secret {self.name} {words}"
        self.kubectl("exec", "-n", INFRA, "deployment/vault", "--", "sh", "-c", script)

    def spec(self, version: str, path: str = "") -> dict[str, Any]:
        """Return the spec of a SomaBrain that reads the secret; `path` is that of the app's connection string."""
        where = f"secret/data/{self.name}"
        secrets = [{"path": where, "key": key, "file": file} for key, file in KEYS.items()]
        secrets[0]["path"] = path or where
        address = f"http://vault.{INFRA}.svc:8200"
        return {"vault": {"address": address, "role": "somabrain", "version": version, "secrets": secrets}}


def infra(kubectl: Kubectl, *settings: str) -> None:
    flags = [word for each in settings for word in ("--set", each)]
    run(
        "helm",
        "upgrade",
        "--install",
        INFRA,
        "helm/charts/soma-infra",
        *flags,
        "-n",
        INFRA,
        "--kubeconfig",
        str(kubectl.kubeconfig),
        timeout_s=300,
    )


@pytest.fixture(scope="module")
def vault(kubectl: Kubectl, database: Database) -> Iterator[Vault]:
    """Vault beside PostgreSQL, with the module's secret; removed afterwards."""
    infra(kubectl, "profile=full", *(f"{each}.enabled=false" for each in OTHERS))
    try:
        kubectl("rollout", "status", "-n", INFRA, "deployment/vault", "--timeout=240s", timeout_s=250)
        yield Vault(kubectl, f"somabrain/e2e-{uuid4().hex[:6]}")
    finally:
        infra(kubectl, "profile=minimal")


@pytest.fixture(scope="module")
def dsns(database: Database) -> dict[str, str]:
    """The connection strings of the chart's own database."""
    return database.dsns()


@pytest.fixture(scope="module")
def brain(vault: Vault, dsns: dict[str, str], kubectl: Kubectl, node_address: str) -> Iterator[Brain]:
    """A SomaBrain in a namespace without Secrets, serving with the connection strings from Vault."""
    name = f"e2e-vault-{uuid4().hex[:5]}"
    kubectl.ensure_namespace(name)
    kubectl("label", "namespace", name, "e2e=true")
    vault.put(dsns)
    brain = Brain(kubectl, node_address, name)
    kubectl.apply(name, brain.manifest(vault.spec("1")))
    asyncio.run(brain.ready(timeout_s=240))
    yield brain
    kubectl("delete", "namespace", name, "--wait=false")


async def test_vault_only_somabrain_serves_without_secrets(brain: Brain) -> None:
    """It serves, and neither a Secret nor a pod's specification contains a connection string.

    The agent that read the strings has ended, and the files that it wrote are in memory.
    """
    secrets = await asyncio.to_thread(brain.kubectl.get, brain.namespace, "secrets")
    assert secrets["items"] == []
    for kind in ("pods", "jobs", "deployments", "configmaps"):
        objects = await asyncio.to_thread(brain.kubectl.get, brain.namespace, kind)
        assert "postgresql://" not in str(objects)
    (pod,) = await asyncio.to_thread(brain.pods)
    (agent,) = (each for each in pod["status"]["initContainerStatuses"] if each["name"] == "vault")
    assert agent["state"]["terminated"]["exitCode"] == 0
    assert (await asyncio.to_thread(filesystem_type, brain, pod["metadata"]["name"])) == "tmpfs"
    async with brain.client() as client:
        await client.create_namespace("notes")
        await client.remember("notes", "The key is under the third stone.")
        assert (await client.recall("notes", "Where is the key?")).hits


async def test_failing_vault_path_is_reported_and_old_pods_stay(brain: Brain, vault: Vault, measured: Measured) -> None:
    """With a wrong path the new pod does not start, the old one serves, and the status names the path."""
    (old,) = [pod["metadata"]["name"] for pod in await asyncio.to_thread(brain.pods)]
    typo = f"secret/data/{vault.name}-typo"
    await asyncio.to_thread(brain.kubectl.apply, brain.namespace, brain.manifest(vault.spec("1", typo)))
    condition = await brain.until("Degraded", "True", typo, timeout_s=120)
    await brain.until("Available", "True")
    async with brain.client() as client:
        assert (await client.recall("notes", "Where is the key?")).hits
    assert old in [pod["metadata"]["name"] for pod in await asyncio.to_thread(brain.pods)]
    measured(f"the status said: {condition.message}")
    await asyncio.to_thread(brain.kubectl.apply, brain.namespace, brain.manifest(vault.spec("1")))
    await brain.ready()
    assert [pod["metadata"]["name"] for pod in await asyncio.to_thread(brain.pods)] == [old]


def reads(brain: Brain, pod: str) -> str:
    """Return the app's connection string as a pod has it."""
    return inside(brain, pod, "cat", FILE)


def filesystem_type(brain: Brain, pod: str) -> str:
    """Return the type of the file system of the connection string."""
    return inside(brain, pod, "stat", "--file-system", "--format=%T", FILE).strip()


def inside(brain: Brain, pod: str, *words: str) -> str:
    return brain.kubectl("exec", "-n", brain.namespace, pod, "-c", "server", "--", *words)


async def test_changed_vault_version_rolls_pods_with_new_values(
    brain: Brain, vault: Vault, dsns: dict[str, str]
) -> None:
    """A change in Vault takes effect when `version` changes, and not before."""
    (old,) = [pod["metadata"]["name"] for pod in await asyncio.to_thread(brain.pods)]
    app = dsns["app-dsn"]
    changed = f"{app}{'&' if '?' in app else '?'}connect_timeout=7"
    await asyncio.to_thread(vault.put, {**dsns, "app-dsn": changed})
    assert await asyncio.to_thread(reads, brain, old) == app
    await asyncio.to_thread(brain.kubectl.apply, brain.namespace, brain.manifest(vault.spec("2")))
    await brain.ready(timeout_s=180)
    (new,) = [pod["metadata"]["name"] for pod in await asyncio.to_thread(brain.pods)]
    assert await asyncio.to_thread(reads, brain, new) == changed
    async with brain.client() as client:
        assert (await client.recall("notes", "Where is the key?")).hits
