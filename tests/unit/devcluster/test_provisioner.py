"""A claim gets a folder once its pod has a node, and only our own volumes are deleted."""

from pathlib import Path
from typing import Any

from devcluster.native.layout import NODE, STORAGE_PROVISIONER
from devcluster.native.provisioner import (
    PROVISIONED_BY_ANNOTATION,
    PROVISIONER_ANNOTATION,
    SELECTED_NODE_ANNOTATION,
    render_volume,
    should_delete,
    should_provision,
)


def claim(**annotations: str) -> dict[str, Any]:
    """Return an unbound claim of one GiB."""
    return {
        "metadata": {"name": "data", "namespace": "infra", "uid": "u1", "annotations": annotations},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "standard",
        },
    }


def test_claim_is_provisioned_after_node_selection() -> None:
    """WaitForFirstConsumer: without a pod there is no volume; claims of other classes are ignored."""
    ours = {PROVISIONER_ANNOTATION: STORAGE_PROVISIONER}
    assert not should_provision(claim(**ours))
    assert should_provision(claim(**ours, **{SELECTED_NODE_ANNOTATION: NODE}))
    assert not should_provision(claim(**{PROVISIONER_ANNOTATION: "other", SELECTED_NODE_ANNOTATION: NODE}))


def test_bound_or_terminating_claim_is_not_provisioned() -> None:
    """A claim that is bound or being deleted gets no volume."""
    bound, terminating = (
        claim(**{PROVISIONER_ANNOTATION: STORAGE_PROVISIONER, SELECTED_NODE_ANNOTATION: NODE}) for _ in range(2)
    )
    bound["spec"]["volumeName"] = "pvc-u1"
    terminating["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not should_provision(bound)
    assert not should_provision(terminating)


def test_only_released_volumes_of_this_provisioner_are_deleted() -> None:
    """Only released volumes of our provisioner are deleted: none made by hand, none in use."""

    def volume(provisioner: str, phase: str) -> dict[str, Any]:
        return {"metadata": {"annotations": {PROVISIONED_BY_ANNOTATION: provisioner}}, "status": {"phase": phase}}

    assert should_delete(volume(STORAGE_PROVISIONER, "Released"))
    assert not should_delete(volume(STORAGE_PROVISIONER, "Bound"))
    assert not should_delete(volume("somebody", "Released"))


def test_volume_claim_ref_has_claim_uid() -> None:
    """The volume names the claim's uid, so that a later claim of the same name does not get old data."""
    spec = render_volume(claim(), Path("/v/pvc-u1"))["spec"]  # type: ignore[call-overload, index]
    assert spec["claimRef"] == {  # type: ignore[call-overload, index]
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": "infra",
        "name": "data",
        "uid": "u1",
    }
    assert spec["local"] == {"path": "/v/pvc-u1"}  # type: ignore[call-overload, index]
    assert spec["capacity"] == {"storage": "1Gi"}  # type: ignore[call-overload, index]
