"""The annotations for Artifact Hub describe the contents of the charts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.conftest import CHARTS, ROOT, Helm, Render

PREFIX = "artifacthub.io/"
CATEGORIES = {
    "ai-machine-learning",
    "database",
    "integration-delivery",
    "monitoring-logging",
    "networking",
    "security",
    "storage",
    "streaming-messaging",
}
"""Categories that Artifact Hub supports."""
DEFAULTS = ("SERVICE_REPOSITORY", "OPA_IMAGE", "VAULT_IMAGE")
"""Settings of the operator with images of SomaBrains."""


def metadata(chart: Path) -> dict[str, Any]:
    """Return the chart's metadata."""
    loaded: dict[str, Any] = yaml.safe_load((chart / "Chart.yaml").read_text())
    return loaded


def annotation(chart: Path, name: str) -> Any:
    """Return the value of an annotation, which is YAML in a string."""
    return yaml.safe_load(metadata(chart)["annotations"][PREFIX + name])


def rendered_images(chart: Path, helm: Helm) -> set[str]:
    """Return every image that the chart can render, with its own values or with those of its ci folder."""
    files = [chart / "values.yaml", *(chart / "ci").glob("*.yaml")]
    texts = [helm("template", "release", str(chart), "--values", str(file)) for file in files]
    return {image for text in texts for image in re.findall(r"^\s*(?:- )?image: \"?([^\s\"]+)", text, re.MULTILINE)}


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_artifact_hub_category_and_licence_are_valid(chart: Path) -> None:
    """The category is one of Artifact Hub's, and the licence that of the repository."""
    assert annotation(chart, "category") in CATEGORIES
    assert annotation(chart, "license") == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert [each["name"] for each in annotation(chart, "links")] == ["documentation", "changes"]


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_artifact_hub_images_match_rendered_images(chart: Path, helm: Helm, render: Render) -> None:
    """Artifact Hub scans the images that the chart, or for the operator also its SomaBrains, runs."""
    images = rendered_images(chart, helm)
    if chart.name == "somabrain-operator":
        (deployment,) = (each for each in render(chart.name) if each["kind"] == "Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        environment = {each["name"]: each.get("value") for each in container["env"]}
        defaults = [environment[f"SOMABRAIN_OPERATOR__{name}"] for name in DEFAULTS]
        images |= {each if ":" in each else f"{each}:{metadata(chart)['appVersion']}" for each in defaults}
    assert {each["image"] for each in annotation(chart, "images")} == images


def test_artifact_hub_crd_matches_definition() -> None:
    """Kind and version are those of the definition, and the example is the quickstart's."""
    chart = ROOT / "helm" / "charts" / "somabrain-operator"
    definition = yaml.safe_load((ROOT / "crds" / "somabrains.somabrain.io.yaml").read_text())
    (resource,) = annotation(chart, "crds")
    (version,) = definition["spec"]["versions"]
    assert (resource["name"], resource["kind"], resource["version"]) == (
        definition["metadata"]["name"],
        definition["spec"]["names"]["kind"],
        version["name"],
    )
    assert resource["description"] == version["schema"]["openAPIV3Schema"]["description"]
    assert annotation(chart, "crdsExamples") == [yaml.safe_load((ROOT / "examples" / "quickstart.yaml").read_text())]


@pytest.mark.parametrize("chart", ["sb", "somabrain-operator"])
def test_openshift_values_set_no_user_or_group_id(chart: str, helm: Helm) -> None:
    """With values-openshift.yaml no pod sets a user or group id, and the rest of the restricted profile stays."""
    folder = f"helm/charts/{chart}"
    text = helm("template", "release", folder, "--values", f"{folder}/values-openshift.yaml")
    manifests = [each for each in yaml.safe_load_all(text) if each]
    pods = [each["spec"] for each in manifests if each["kind"] == "Pod"]
    pods += [each["spec"]["template"]["spec"] for each in manifests if each["kind"] in ("Deployment", "Job")]
    assert len(pods) > 1
    for each in pods:
        assert each["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
