"""A SomaBrain in its own namespace, for a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from examples.kubectl import Kubectl, Object
from somabrain_client import MemoryClient
from tests.e2e.support.waiting import eventually

DATABASE, MIGRATION = "somabrain-database", "somabrain-migration"
READY_TIMEOUT_S = 120
NODE_PORT_SERVICE = "reach"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of the status; `current` if it is about the newest spec."""

    status: str
    reason: str
    message: str
    current: bool


@dataclass(frozen=True, slots=True)
class Brain:
    """One SomaBrain."""

    kubectl: Kubectl
    node_address: str
    namespace: str
    name: str = "brain"

    def apply(self, **spec: Any) -> str:
        """Apply it with the database's two Secrets and the fields of `spec`."""
        base = {
            "database": {"secretRef": {"name": DATABASE}},
            "migration": {"database": {"secretRef": {"name": MIGRATION}}},
        }
        return self.kubectl.apply(self.namespace, self.manifest({**base, **spec}))

    def manifest(self, spec: Mapping[str, Any]) -> Object:
        """Return the manifest with exactly `spec`."""
        return {
            "apiVersion": "somabrain.io/v1alpha1",
            "kind": "SomaBrain",
            "metadata": {"name": self.name},
            "spec": dict(spec),
        }

    def resource(self) -> Object:
        """Return the resource from the API."""
        return self.kubectl.get(self.namespace, "somabrain", self.name)

    def conditions(self) -> dict[str, Condition]:
        """Return its conditions by type."""
        resource = self.resource()
        generation = resource["metadata"]["generation"]
        return {
            each["type"]: Condition(
                each["status"], each["reason"], each["message"], each["observedGeneration"] == generation
            )
            for each in resource.get("status", {}).get("conditions", ())
        }

    async def until(self, kind: str, status: str, message: str = "", timeout_s: float = READY_TIMEOUT_S) -> Condition:
        """Wait until a condition about the newest spec has `status` and `message` in its message; return it."""

        def matches(conditions: Mapping[str, Condition]) -> bool:
            condition = conditions.get(kind)
            return (
                condition is not None
                and condition.current
                and condition.status == status
                and message in condition.message
            )

        what = f"{self.namespace}/{self.name}: {kind}={status} {message!r} was not so"
        return (await eventually(self.conditions, matches, what, timeout_s))[kind]

    async def ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until it serves as its spec requires."""
        await self.until("Ready", "True", timeout_s=timeout_s)

    async def edited_by_hand(self) -> None:
        """Manually change a label of its Service, and wait until the operator has corrected it."""
        of, label = ("service", f"{self.name}-grpc"), "app.kubernetes.io/part-of"
        words = ("label", *of, "-n", self.namespace, f"{label}=mine", "--overwrite")
        await asyncio.to_thread(self.kubectl, *words)
        await eventually(
            lambda: self.kubectl.get(self.namespace, *of)["metadata"]["labels"][label],
            lambda now: now == "somabrain",
            "the label was not put back",
        )

    def deployment(self) -> Object:
        """Return the Deployment of the service."""
        return self.kubectl.get(self.namespace, "deployment", f"{self.name}-server")

    def pods(self) -> list[Object]:
        """Return the pods of the service that are not being deleted, oldest first."""
        selector = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component=server"
        listed = self.kubectl.get(self.namespace, "pods", "-l", selector, "--sort-by=.metadata.creationTimestamp")
        return [pod for pod in listed["items"] if "deletionTimestamp" not in pod["metadata"]]

    def address(self) -> str:
        """Return an address of the service that this machine reaches, independent of the pods."""
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NODE_PORT_SERVICE},
            "spec": {
                "type": "NodePort",
                "selector": {"app.kubernetes.io/instance": self.name, "app.kubernetes.io/component": "server"},
                "ports": [{"name": "grpc", "port": 50052, "targetPort": "grpc"}],
            },
        }
        self.kubectl.apply(self.namespace, service)
        port = self.kubectl.get(self.namespace, "service", NODE_PORT_SERVICE)["spec"]["ports"][0]["nodePort"]
        return f"{self.node_address}:{port}"

    @asynccontextmanager
    async def client(self, tenant: str | None = None, address: str | None = None) -> AsyncIterator[MemoryClient]:
        """Return a client with a token of the namespace `tenant` (None: the SomaBrain's own)."""
        token = await asyncio.to_thread(self.kubectl.token, tenant or self.namespace, "agent")
        where: str = await asyncio.to_thread(self.address) if address is None else address
        async with MemoryClient(where, token=token) as client:
            yield client
