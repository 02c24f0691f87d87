"""The MCP server of a SomaBrain is created, reverted, rolled, reported and removed as the servers are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.operator.brains import NAME, Brain, ControllerStub
from tests.support.waiting import eventually

MCP: dict[str, Any] = {
    "resourceUrl": "https://memory.example/mcp",
    "exchange": {"url": "https://issuer.example/token", "secretRef": {"name": "mcp-client"}},
    "networkPolicy": {},
    "podDisruptionBudget": {},
}
KINDS = ("Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget")


@pytest.fixture
def served(brain: Brain, controller_stub: ControllerStub) -> Brain:
    """A SomaBrain with an MCP server, both of which are ready."""
    brain.secret("mcp-client", **{"client-id": "mcp", "client-secret": "swordfish"})
    brain.apply(mcp=MCP)
    serve(controller_stub)
    brain.until("McpAvailable", "True")
    brain.until("Ready", "True")
    return brain


def serve(controller_stub: ControllerStub) -> None:
    """As the controllers: the migration is done, and both Deployments are rolled out."""
    controller_stub.finish_migration()
    controller_stub.roll_out()
    controller_stub.roll_out(component="mcp")


def names(brain: Brain, kind: str) -> list[str]:
    """Return the names of the objects of a kind."""
    return [str(each["metadata"]["name"]) for each in brain.api.objects(kind, brain.namespace)]


def test_ready_waits_for_mcp_and_status_has_its_url(brain: Brain, controller_stub: ControllerStub) -> None:
    """Ready servers are Available and not yet Ready; with the MCP server they are, and the status has its URL."""
    brain.secret("mcp-client", **{"client-id": "mcp", "client-secret": "swordfish"})
    brain.apply(mcp=MCP)
    controller_stub.finish_migration()
    controller_stub.roll_out()
    brain.until("Available", "True")
    assert brain.until("Ready", "False", "MCP server: ")["status"] == "False"
    controller_stub.roll_out(component="mcp")
    brain.until("Ready", "True")
    assert brain.resource()["status"]["mcpEndpoint"] == f"http://{NAME}-mcp.{brain.namespace}.svc:8090/mcp"


def test_mcp_objects_are_owned_and_removed_with_the_field(served: Brain) -> None:
    """Each of its objects has the resource as controller; without spec.mcp all are deleted, and the servers stay up."""
    uid = served.resource()["metadata"]["uid"]
    for kind in KINDS:
        (owner,) = served.child(kind, "mcp")["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (uid, True)
    before = served.deployment()["spec"]
    served.apply(mcp=None)
    for kind in KINDS:
        eventually(lambda kind=kind: names(served, kind), lambda left: f"{NAME}-mcp" not in left, f"no {kind}")  # type: ignore[misc]
    served.until("Ready", "True")
    assert "McpAvailable" not in served.conditions()
    assert served.deployment()["spec"] == before


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("Deployment", {"spec": {"replicas": 7}}),
        ("Deployment", {"spec": {"template": {"spec": {"hostNetwork": True}}}}),
        ("Service", {"spec": {"selector": {"app.kubernetes.io/component": "server"}}}),
        ("NetworkPolicy", {"spec": {"egress": [{}]}}),
        ("PodDisruptionBudget", {"spec": {"maxUnavailable": 9}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mcp_edit_is_reverted(served: Brain, kind: str, patch: dict[str, Any]) -> None:
    """An edited object of the MCP server is restored within seconds."""
    before = served.child(kind, "mcp")["spec"]
    served.api.patch(kind, f"{NAME}-mcp", served.namespace, patch)
    eventually(lambda: served.child(kind, "mcp")["spec"], lambda now: now == before, "the edit is put back", 10)


def test_deleted_mcp_deployment_is_recreated(served: Brain) -> None:
    """A deleted Deployment of the MCP server is created again within seconds."""
    before = served.child("Deployment", "mcp")
    served.api.delete("Deployment", f"{NAME}-mcp", served.namespace)
    after = eventually(
        lambda: served.child("Deployment", "mcp"),
        lambda live: live["metadata"]["uid"] != before["metadata"]["uid"],
        "another Deployment",
        10,
    )
    assert after["spec"] == before["spec"]


def test_mcp_missing_client_secret_is_reported_and_rotation_rolls_nothing(
    brain: Brain, controller_stub: ControllerStub
) -> None:
    """A missing Secret is reported with its field; once it exists all are ready; a new client secret rolls nothing."""
    brain.apply(mcp=MCP)
    brain.until("ReferencesResolved", "False", "Secret mcp-client, named by spec.mcp.exchange.secretRef.name")
    brain.secret("mcp-client", **{"client-id": "mcp", "client-secret": "swordfish"})
    brain.until("ReferencesResolved", "True")
    serve(controller_stub)
    brain.until("Ready", "True")
    template = brain.child("Deployment", "mcp")["spec"]["template"]
    assert "swordfish" not in str(template)
    brain.rotate("mcp-client", **{"client-secret": "another"})
    brain.apply(config={"drainSeconds": 21})
    eventually(
        brain.deployment,
        lambda live: live["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 34,
        "the servers roll",
    )
    controller_stub.roll_out()
    brain.until("Ready", "True")
    assert brain.child("Deployment", "mcp")["spec"]["template"] == template


def test_mcp_example_is_accepted_and_deployed(brain: Brain, controller_stub: ControllerStub) -> None:
    """examples/mcp.yaml is stored unchanged and leads to an MCP server, with its Secret."""
    example = yaml.safe_load(Path("examples/mcp.yaml").read_text(encoding="utf-8"))
    brain.secret("mcp-client", **{"client-id": "mcp", "client-secret": "swordfish"})
    brain.apply(**example["spec"])
    serve(controller_stub)
    brain.until("Ready", "True")
    assert brain.child("Deployment", "mcp")["spec"]["replicas"] == 2
