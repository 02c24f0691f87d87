"""Faults of a cluster under a SomaBrain of two replicas. Each ends once the operator has begun to react."""

from __future__ import annotations

import asyncio
import json
import random
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping, Set
from dataclasses import dataclass

from examples.kubectl import CommandFailed, Kubectl, Object
from tests.e2e.support.brains import DATABASE, MIGRATION, Brain
from tests.e2e.support.chaos import Chaos
from tests.e2e.support.waiting import eventually

OPERATOR = "somabrain-system"
REPLICAS = 2
OTHER_OWNER, WRONG_OWNER = "other-owner", "wrong-owner"
CUT_S = 2.0
SHORT = frozenset({"api server restart", "secret deleted", "deployment edited by hand"})
"""Faults of the short form of the chaos test."""


def operator_pod(kubectl: Kubectl) -> Object:
    """Return the one pod of the operator."""
    (pod,) = kubectl.get(OPERATOR, "pods", "-l", "app.kubernetes.io/name=somabrain-operator")["items"]
    return dict(pod)


def owner(secret: str) -> dict[str, object]:
    """Return `spec.migration` with the Secret of an owner."""
    return {"database": {"secretRef": {"name": secret}}}


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults of a SomaBrain, its operator and its cluster."""

    brain: Brain
    chaos: Chaos
    kubectl: Kubectl

    def by_name(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Return each fault by its name."""
        each = (
            self.api_server_restart,
            self.watch_cut,
            self.operator_killed_mid_step,
            self.secret_deleted,
            self.job_deleted,
            self.deployment_edited_by_hand,
            self.image_that_never_starts,
            self.migration_that_fails_twice,
        )
        return {fault.__name__.replace("_", " "): fault for fault in each}

    def order(self, seed: int, only: Set[str] | None = None) -> list[str]:
        """Return the names of all faults, or of those in `only`, in the order drawn from the seed."""
        names = [name for name in self.by_name() if only is None or name in only]
        random.Random(seed).shuffle(names)
        return names

    async def prepare(self) -> None:
        """Create the Secrets that faults use: one for the owner by another address, and a wrong one."""
        secret = await asyncio.to_thread(self.kubectl.get, self.brain.namespace, "secret", MIGRATION)
        dsn = b64decode(secret["data"]["owner-dsn"]).decode()
        await self._secret(OTHER_OWNER, f"{dsn}?application_name=other")
        await self._secret(WRONG_OWNER, f"{dsn.rpartition('/')[0]}/nowhere")
        await self.apply()

    async def apply(self, **spec: object) -> None:
        """Apply the SomaBrain with the given changes."""
        await asyncio.to_thread(self.brain.apply, **{"replicas": REPLICAS, **spec})

    async def api_server_restart(self) -> None:
        await asyncio.to_thread(self.chaos.kill_component, "kube-apiserver")
        await eventually(self._answers, lambda answers: not answers, "the API server did not go", every_s=0.1)
        await eventually(self._answers, bool, "the API server did not come back", every_s=0.1)

    async def watch_cut(self) -> None:
        """Cut the operator's connections for two seconds, with an edit in between."""
        address = (await asyncio.to_thread(operator_pod, self.kubectl))["status"]["podIP"]
        async with self.chaos.cut(address, port=6443):
            await self.apply(replicas=REPLICAS + 1)
            await asyncio.sleep(CUT_S)
        await self._wait_for_deployment(lambda spec: spec["replicas"] == REPLICAS + 1, "the edit was not seen")
        await self.apply()

    async def operator_killed_mid_step(self) -> None:
        pod = await asyncio.to_thread(operator_pod, self.kubectl)
        await self.apply(resources={"limits": {"memory": "900Mi"}})
        await asyncio.to_thread(self.chaos.signal, "KILL", pod, pod["spec"]["containers"][0]["name"])

    async def secret_deleted(self) -> None:
        secret = await asyncio.to_thread(self.kubectl.get, self.brain.namespace, "secret", DATABASE)
        await asyncio.to_thread(self.kubectl, "delete", "secret", DATABASE, "-n", self.brain.namespace)
        await self.brain.until("ReferencesResolved", "False", DATABASE)
        restored = {key: secret[key] for key in ("apiVersion", "kind", "type", "data")} | {
            "metadata": {"name": DATABASE}
        }
        await asyncio.to_thread(self.kubectl.apply, self.brain.namespace, restored)

    async def job_deleted(self) -> None:
        """Delete the Job of a migration for another owner's Secret as soon as it exists."""
        before = await asyncio.to_thread(self._jobs)
        await self.apply(migration=owner(OTHER_OWNER))
        # Not a larger set: those of earlier migrations are pruned meanwhile.
        jobs = await eventually(lambda: self._jobs() - before, bool, "no Job was made", every_s=0.05)
        for name in jobs:
            await asyncio.to_thread(self.kubectl, "delete", "job", name, "-n", self.brain.namespace, "--wait=false")
        await self.brain.until("Migrated", "True")
        await self.apply()

    async def deployment_edited_by_hand(self) -> None:
        before = (await asyncio.to_thread(self.brain.deployment))["spec"]["template"]["spec"]
        container = {"name": "server", "image": "registry.k8s.io/pause:3.10"}
        patch = json.dumps({"spec": {"template": {"spec": {"containers": [container]}}}})
        name = f"{self.brain.name}-server"
        await asyncio.to_thread(self.kubectl, "patch", "deployment", name, "-n", self.brain.namespace, "-p", patch)
        await self._wait_for_deployment(lambda spec: spec["template"]["spec"] == before, "the edit was not put back")

    async def image_that_never_starts(self) -> None:
        image = "ghcr.io/somabrain/somabrain-service:no-such-tag"
        await self.apply(image=image, migration={"enabled": False})
        await self.brain.until("Degraded", "True", "no-such-tag")
        await self.apply()

    async def migration_that_fails_twice(self) -> None:
        await self.apply(migration={**owner(WRONG_OWNER), "backoffLimit": 0})
        await self.brain.until("Migrated", "False", "Attempt 2 failed")
        await self.apply()

    async def _secret(self, name: str, dsn: str) -> None:
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"owner-dsn": dsn}}
        await asyncio.to_thread(self.kubectl.apply, self.brain.namespace, manifest)

    async def _wait_for_deployment(self, condition: Callable[[Object], bool], what: str) -> None:
        await eventually(lambda: self.brain.deployment()["spec"], condition, what, every_s=0.1)

    def _jobs(self) -> frozenset[str]:
        jobs = self.kubectl.get(self.brain.namespace, "jobs")["items"]
        return frozenset(job["metadata"]["name"] for job in jobs)

    def _answers(self) -> bool:
        try:
            self.kubectl("get", "--raw", "/readyz", "--request-timeout=2s", timeout_s=5)
        except CommandFailed:
            return False
        return True
