"""Manual changes of the Deployment are reverted while the service continues."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from examples.kubectl import Object
from tests.e2e.support.brains import Brain
from tests.e2e.support.waiting import eventually

PUT_BACK_S = 10
STRANGER = {
    "name": "stranger",
    "image": "registry.k8s.io/pause:3.10",
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}


def server(deployment: Object) -> Object:
    (container,) = (c for c in deployment["spec"]["template"]["spec"]["containers"] if c["name"] == "server")
    return dict(container)


@pytest.mark.parametrize(
    ("what", "edit"),
    [
        ("image", {"containers": [{"name": "server", "image": "registry.k8s.io/pause:3.10"}]}),
        ("container", {"containers": [STRANGER]}),
        ("variable", {"containers": [{"name": "server", "env": [{"name": "SOMABRAIN_LOG__LEVEL", "value": "debug"}]}]}),
        ("volume", {"volumes": [{"name": "mine", "emptyDir": {}}]}),
    ],
)
async def test_deployment_edit_is_reverted(served: Brain, what: str, edit: dict[str, Any]) -> None:
    """A changed image and an added container, variable or volume are reverted within seconds."""
    before = await asyncio.to_thread(served.deployment)
    patch = json.dumps({"spec": {"template": {"spec": edit}}})
    await asyncio.to_thread(
        served.kubectl, "patch", "deployment", f"{served.name}-server", "-n", served.namespace, "-p", patch
    )

    def as_before(now: Object) -> bool:
        edited = now["metadata"]["generation"] > before["metadata"]["generation"]
        return bool(edited and now["spec"]["template"]["spec"] == before["spec"]["template"]["spec"])

    await eventually(served.deployment, as_before, f"the {what} was not put back", PUT_BACK_S, every_s=0.1)
    await served.ready()


async def test_deleted_service_is_recreated(served: Brain) -> None:
    """A deleted Service is created again within seconds."""
    name = f"{served.name}-headless"
    before = (await asyncio.to_thread(served.kubectl.get, served.namespace, "service", name))["metadata"]["uid"]
    await asyncio.to_thread(served.kubectl, "delete", "service", name, "-n", served.namespace)
    await eventually(
        lambda: served.kubectl.find(served.namespace, "service", name),
        lambda service: service is not None and service["metadata"]["uid"] != before,
        "the Service was not made again",
        PUT_BACK_S,
    )
