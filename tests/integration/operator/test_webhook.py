"""A webhook that permanently changes children is reported, with the spec field that accepts the change."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.integration.operator.api import Object
from tests.integration.operator.brains import NAME, Brain, ControllerStub
from tests.integration.operator.webhook import mutating_webhook
from tests.support.waiting import eventually


@pytest.mark.parametrize(
    ("kind", "component", "change", "other"),
    [
        ("Deployment", "server", ("/spec/revisionHistoryLimit", 9), {"minReadySeconds": 7}),
        ("Service", "grpc", ("/spec/ports/0/appProtocol", "other"), {"sessionAffinity": "ClientIP"}),
    ],
)
def test_permanent_webhook_change_can_be_accepted_in_spec(
    served: Brain,
    controller_stub: ControllerStub,
    tmp_path: Path,
    kind: str,
    component: str,
    change: tuple[str, object],
    other: Object,
) -> None:
    """The condition names the recurring change of the webhook, and the entry of the spec that accepts it.

    With that entry the resource is Ready and the child stays as the webhook writes it; other edits are still reverted.
    """
    (field,) = other
    before = served.child(kind, component)["spec"].get(field)

    def touch() -> Object:
        """Write the child, which the webhook changes as soon as the API server has the webhook."""
        label = {"metadata": {"labels": {"touched": str(time.time_ns())}}}
        served.api.patch(kind, f"{NAME}-{component}", served.namespace, label)
        time.sleep(1)
        return served.conditions()["Degraded"]

    group, resource = ("apps", "deployments") if kind == "Deployment" else ("", "services")
    patch = [{"op": "replace", "path": change[0], "value": change[1]}]
    with mutating_webhook(served.api, tmp_path, served.namespace, resource, group, patch):
        condition = eventually(touch, lambda it: it["status"] == "True", "the webhook is noticed")
        assert condition["reason"] == "DriftRemains", condition["message"]
        assert "an admission webhook or another controller that changes it" in condition["message"]
        entry = str(condition["message"]).split("add '")[1].split("'")[0]
        served.apply(ignoreDifferences=[entry])
        served.until("Degraded", "False")
        controller_stub.roll_out()
        served.until("Ready", "True")
        served.api.patch(kind, f"{NAME}-{component}", served.namespace, {"spec": other})
        eventually(lambda: served.child(kind, component)["spec"].get(field), lambda it: it == before, "it is reverted")
        served.until("Degraded", "False")
