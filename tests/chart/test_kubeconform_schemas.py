"""The schemas with which `make lint` validates manifests reject the errors that the API server would reject."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chart.conftest import ROOT

POD = """
apiVersion: v1
kind: Pod
metadata: {name: pod}
spec:
  containers:
    - name: one
      image: image
      resources: {limits: {cpu: 1, memory: 1Gi}}
      readinessProbe: {httpGet: {port: http, path: /}}
"""
BRAIN = """
apiVersion: somabrain.io/v1alpha1
kind: SomaBrain
metadata: {name: brain}
spec:
  replicas: 1
  database: {secretRef: {name: somabrain-database}}
"""


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    crds = sorted((ROOT / "crds").glob("*.yaml"))
    subprocess.run([sys.executable, ROOT / "scripts/kubeconform/schemas.py", folder, *crds], check=True)
    return folder


def conforms(schemas: Path, manifest: str) -> str:
    """Return kubeconform's errors; empty if the manifest is valid."""
    assert shutil.which("kubeconform"), "kubeconform is not in PATH; run `make chart`, which puts it there"
    location = f"{schemas}/{{{{.Group}}}}/{{{{.ResourceKind}}}}_{{{{.ResourceAPIVersion}}}}.json"
    done = subprocess.run(
        ["kubeconform", "-strict", "-schema-location", location],
        input=manifest,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (done.stdout == "")
    return done.stdout


@pytest.mark.parametrize("manifest", [POD, BRAIN], ids=["Pod", "SomaBrain"])
def test_valid_manifest_is_accepted(schemas: Path, manifest: str) -> None:
    """A valid manifest passes, with quantities as numbers and ports by name."""
    assert conforms(schemas, manifest) == ""


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (POD.replace("readinessProbe", "readynessProbe"), "readynessProbe"),
        (POD.replace("name: one", "name: 1"), "/spec/containers/0/name"),
        (POD.replace("kind: Pod", "kind: Pot"), "could not find schema for Pot"),
        (POD.replace("      image: image\n", "").replace("- name: one", "- image: image"), "name"),
        (BRAIN.replace("replicas: 1", "replicas: many"), "/spec/replicas"),
        (BRAIN.replace("replicas", "replica"), "replica"),
        (BRAIN.replace("v1alpha1", "v1"), "could not find schema for SomaBrain"),
    ],
    ids=[
        "unknown field",
        "wrong type",
        "unknown kind",
        "missing field",
        "custom type",
        "custom field",
        "custom version",
    ],
)
def test_invalid_manifest_is_rejected(schemas: Path, wrong: str, expected: str) -> None:
    """An unknown, missing or mistyped field and an unknown kind are errors that name it."""
    assert expected in conforms(schemas, wrong)
