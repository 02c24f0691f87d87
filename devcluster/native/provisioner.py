"""Provisioner of persistent volumes as folders of the node, created for scheduled pods and deleted with their claim.

Started as `python3 -m devcluster.native.provisioner ROOT`.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster.api import Api, ApiError, Json
from devcluster.native.layout import NODE, STORAGE_PROVISIONER, Layout

PERIOD_S = 1.0
PROVISIONED_BY_ANNOTATION = "pv.kubernetes.io/provisioned-by"
PROVISIONER_ANNOTATION = "volume.kubernetes.io/storage-provisioner"
SELECTED_NODE_ANNOTATION = "volume.kubernetes.io/selected-node"


def should_provision(claim: dict[str, Any]) -> bool:
    """Return whether `claim` waits for a volume of this provisioner and its pod has been scheduled."""
    annotations = claim["metadata"].get("annotations", {})
    unbound = not claim["spec"].get("volumeName") and "deletionTimestamp" not in claim["metadata"]
    return (
        unbound
        and annotations.get(PROVISIONER_ANNOTATION) == STORAGE_PROVISIONER
        and SELECTED_NODE_ANNOTATION in annotations
    )


def should_delete(volume: dict[str, Any]) -> bool:
    """Return whether `volume` is from this provisioner and its claim is deleted."""
    provisioned_by = volume["metadata"].get("annotations", {}).get(PROVISIONED_BY_ANNOTATION)
    return provisioned_by == STORAGE_PROVISIONER and volume["status"].get("phase") in ("Released", "Failed")


def volume_name(claim: dict[str, Any]) -> str:
    """Return the name of the volume for `claim`."""
    return f"pvc-{claim['metadata']['uid']}"


def render_volume(claim: dict[str, Any], folder: Path) -> Json:
    """Return the volume that binds to `claim` and stores its data in `folder`."""
    metadata, spec = claim["metadata"], claim["spec"]
    on_node: Json = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": volume_name(claim), "annotations": {PROVISIONED_BY_ANNOTATION: STORAGE_PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": spec["storageClassName"],
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
        },
    }


@dataclass(frozen=True, slots=True)
class Provisioner:
    """Reconciles the volumes with the claims."""

    api: Api
    folders: Path

    def reconcile(self) -> None:
        """Create the requested volumes and delete the released ones."""
        volumes = self._list("persistentvolumes")
        present = {volume["metadata"]["name"] for volume in volumes}
        for claim in self._list("persistentvolumeclaims"):
            if should_provision(claim) and volume_name(claim) not in present:
                folder = self.folders / volume_name(claim)
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o777)  # pods run as any user
                self.api.call("POST", "/api/v1/persistentvolumes", render_volume(claim, folder))
                print(f"created {folder.name} for {claim['metadata']['namespace']}/{claim['metadata']['name']}")
        for volume in filter(should_delete, volumes):
            name = volume["metadata"]["name"]
            folder = self.folders / name
            if folder.exists():
                shutil.rmtree(folder)
            self.api.call("DELETE", f"/api/v1/persistentvolumes/{name}")
            print(f"deleted {name}")

    def _list(self, resource: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self.api.call("GET", f"/api/v1/{resource}"))["items"]
        return items


def main() -> None:
    """Reconcile once a second until killed; API errors are logged."""
    layout = Layout(Path(sys.argv[1]))
    provisioner = Provisioner(Api("https://127.0.0.1:6443", layout.pki), layout.volumes)
    while True:
        try:
            provisioner.reconcile()
        except ApiError as error:
            print(error)
        sys.stdout.flush()
        time.sleep(PERIOD_S)


if __name__ == "__main__":
    main()
