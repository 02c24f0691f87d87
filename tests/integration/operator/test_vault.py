"""The agent's configuration works with a real agent and a real Vault, which checks tokens with a real API server."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster.loopback import Vault, vault
from tests.integration.operator.api import Object
from tests.integration.operator.brains import NAME, Brain, ControllerStub
from tests.integration.operator.chart import tool
from tests.support.waiting import eventually

SPEC: Object = yaml.safe_load(Path("examples/vault.yaml").read_text(encoding="utf-8"))["spec"]
AGENT, FILES = "/var/run/secrets/somabrain/vault", "/run/somabrain"
DSNS = {"app-dsn": "postgresql://app:tea@pg/s", "worker-dsn": "postgresql://worker@pg/s", "owner-dsn": "postgresql://o"}


@pytest.fixture(scope="module")
def store() -> Iterator[Vault]:
    with vault() as running:
        yield running


@pytest.fixture
def vault_brain(store: Vault, brain: Brain) -> Brain:
    """A namespace whose pods may read secret/data/brain, as the example requires."""
    if "kubernetes/" not in store.call("GET", "sys/auth"):
        store.call("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
        store.call("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
    api = brain.api.server
    config = {
        "kubernetes_host": api.url,
        "kubernetes_ca_cert": api.ca_file.read_text(),
        "token_reviewer_jwt": api.token,
    }
    store.call("POST", "auth/kubernetes/config", config)
    rules = 'path "secret/data/*" { capabilities = ["read"] }\npath "old/*" { capabilities = ["read"] }'
    store.call("PUT", "sys/policies/acl/brain", {"policy": rules})
    bound = {"bound_service_account_names": f"{NAME}-server", "bound_service_account_namespaces": brain.namespace}
    store.call("POST", "auth/kubernetes/role/brain", {**bound, "audience": "vault", "token_policies": "brain"})
    store.put("brain", DSNS)
    store.call("POST", "old/brain", {"key": "of version one"})
    for name in ("somabrain-database", "somabrain-migration"):
        brain.api.delete("Secret", name, brain.namespace)
    return brain


class Run:
    """One run of a pod's agent, as the kubelet would start it, with its folders moved into `folder`."""

    def __init__(self, brain: Brain, pod: Any, folder: Path, address: str, audience: str = "vault") -> None:
        agent = pod["metadata"]["annotations"]["somabrain.io/vault-agent"]
        argv = pod["spec"]["initContainers"][0]["command"]
        self.files = folder / "files" / "secrets"
        moved = {AGENT: str(folder), FILES: str(folder / "files"), SPEC["vault"]["address"]: address}
        for before, after in moved.items():
            agent = agent.replace(before, after)
            argv = [word.replace(before, after) for word in argv]
        (folder / "agent.json").write_text(agent)
        words = ("create", "token", f"{NAME}-server", "-n", brain.namespace, "--audience", audience)
        kubectl = [tool("kubectl"), "--kubeconfig", str(brain.api.server.kubeconfig), *words]
        (folder / "token").write_text(
            subprocess.run(kubectl, capture_output=True, text=True, check=True).stdout.strip()
        )
        done = subprocess.run(
            [tool("vault"), *argv[1:]],
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
            env={"HOME": str(folder)},
        )
        self.code, self.output = done.returncode, (done.stdout + done.stderr)[-2048:]

    def read(self) -> dict[str, str]:
        """Return each file's content."""
        return {each.name: each.read_text() for each in self.files.glob("*")}


def server_pod(brain: Brain) -> Any:
    return brain.deployment()["spec"]["template"]


def test_vault_agent_writes_only_secrets_of_its_pod(
    vault_brain: Brain, controller_stub: ControllerStub, store: Vault, tmp_path: Path
) -> None:
    """The migration gets the owner's connection string, the servers theirs, and other users cannot read the files."""
    vault_brain.apply(**{"database": None, "migration": {}, **SPEC})
    job = vault_brain.job()["spec"]["template"]
    for_migration = Run(vault_brain, job, tmp_path, store.url)
    assert for_migration.read() == {"SOMABRAIN_OWNER_DSN": DSNS["owner-dsn"]}, for_migration.output
    controller_stub.finish_migration()
    eventually(vault_brain.deployment, bool, "a Deployment")
    folder = tmp_path / "server"
    folder.mkdir()
    for_server = Run(vault_brain, server_pod(vault_brain), folder, store.url)
    assert for_server.read() == {
        "SOMABRAIN_POSTGRES_DSN": DSNS["app-dsn"],
        "SOMABRAIN_WORKER_DSN": DSNS["worker-dsn"],
    }, for_server.output
    assert {stat.S_IMODE(each.stat().st_mode) for each in for_server.files.glob("*")} == {0o400}
    assert (for_migration.code, for_server.code) == (0, 0)


def test_kv_version_1_is_read(vault_brain: Brain, store: Vault, tmp_path: Path) -> None:
    """Secrets of a key-value store of version 1, whose values are one level higher, are read too."""
    more = {"path": "old/brain", "key": "key", "file": "note"}
    vault_spec = {**SPEC["vault"], "secrets": [*SPEC["vault"]["secrets"], more]}
    vault_brain.apply(database=None, migration={}, vault=vault_spec)
    run = Run(vault_brain, vault_brain.job()["spec"]["template"], tmp_path, store.url)
    assert run.read()["note"] == "of version one", run.output


@pytest.mark.parametrize(
    ("change", "audience", "expected"),
    [
        ({"secrets": {"path": "secret/data/typo"}}, "vault", "no secret exists at secret/data/typo"),
        ({"secrets": {"key": "typo"}}, "vault", "secret/data/brain in Vault has no key typo"),
        ({"secrets": {"path": "sys/forbidden"}}, "vault", "sys/forbidden"),
        ({"role": "typo"}, "vault", "invalid role name"),
        ({}, "somebody", "invalid audience"),
    ],
    ids=["path", "key", "policy", "role", "audience"],
)
def test_unreadable_vault_secret_is_reported_in_migrated(
    vault_brain: Brain,
    controller_stub: ControllerStub,
    store: Vault,
    tmp_path: Path,
    change: Any,
    audience: str,
    expected: str,
) -> None:
    """The agent fails with the reason, which is in the message of the condition Migrated."""
    secrets = [{**SPEC["vault"]["secrets"][2], **change.get("secrets", {})}, *SPEC["vault"]["secrets"][:2]]
    others = {field: value for field, value in change.items() if field != "secrets"}
    vault_brain.apply(database=None, migration={}, vault={**SPEC["vault"], **others, "secrets": secrets})
    job = vault_brain.job()
    run = Run(vault_brain, job["spec"]["template"], tmp_path, store.url, audience)
    assert run.code != 0
    assert run.read() == {}
    controller_stub.fail_migration(run.output, container="vault")
    message = vault_brain.until("Migrated", "False", "Attempt 1 failed")["message"]
    assert expected in message
    assert "[ERROR]" not in message
    assert json.dumps(message).isprintable()
