"""Stored resources outlast an upgrade of the definition and a reinstallation of the operator, without an outage."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from lightkube.types import PatchType

from devcluster import previous_release
from devcluster.environment import local_paths
from devcluster.loopback import api_server
from devcluster.progress import Progress
from tests.integration.operator.api import KINDS, Api, Object, Refused, api_of
from tests.integration.operator.brains import Brain, ControllerStub
from tests.integration.operator.chart import SYSTEM, account_of, namespace_of, rendered, wait_for_kind
from tests.integration.operator.process import operator
from tests.support.waiting import eventually

DEFINITION, NAME = "CustomResourceDefinition", "somabrains.somabrain.io"
ENDPOINT = {"id": "nomic", "url": "http://nomic:11434/v1/embeddings", "model": "nomic-embed-text", "dimensions": 768}
RIGHTS = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount")


@pytest.fixture
def api() -> Iterator[Api]:
    """A separate API server."""
    with api_server() as server, api_of(server) as verbs:
        for name in (SYSTEM, "demo"):
            verbs.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        yield verbs


def remove(api: Api, manifest: Object) -> None:
    """Delete an object of the chart."""
    kind, name, namespace = KINDS[manifest["kind"]], manifest["metadata"]["name"], namespace_of(manifest)
    if namespace:
        api.client.delete(kind, name, namespace=namespace)
    else:
        api.client.delete(kind, name)


def test_stored_resource_survives_crd_upgrade_and_reinstall(api: Api, tmp_path: Path) -> None:
    """A stored resource outlasts an upgrade of the definition and a reinstallation of the operator.

    It gets the newer definition's defaults and serves; without the operator and its rights its Deployment stays; with
    both back nothing is written, and the next edit is applied.
    """
    manifests = rendered()
    (definition,) = (each for each in manifests if each["kind"] == DEFINITION)
    older = copy.deepcopy(definition)
    del older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["probes"]
    for manifest in [older, *(each for each in manifests if each["kind"] != DEFINITION)]:
        api.create(manifest, namespace_of(manifest))
    wait_for_kind(api)
    brain = Brain(api, "demo")
    brain.secrets()
    brain.apply()
    uid = brain.resource()["metadata"]["uid"]
    assert "probes" not in brain.resource()["spec"]
    newer = {"spec": {"versions": definition["spec"]["versions"]}}
    api.client.patch(KINDS[DEFINITION], NAME, newer, patch_type=PatchType.MERGE)
    eventually(lambda: brain.resource()["spec"]["probes"]["startupSeconds"], bool, "the newer definition's defaults")
    with operator(account_of(api, tmp_path), tmp_path / "first") as first:
        first.wait_until_started()
        ControllerStub(brain).serve()
        time.sleep(1)
    assert brain.resource()["metadata"]["uid"] == uid
    served, before = brain.deployment(), api.writes()
    for manifest in manifests:
        if manifest["kind"] in RIGHTS:
            remove(api, manifest)
    assert brain.deployment() == served
    for manifest in manifests:
        if manifest["kind"] in RIGHTS:
            api.create(manifest, namespace_of(manifest))
    with operator(account_of(api, tmp_path), tmp_path / "second") as second:
        second.wait_until_started()
        eventually(
            second.metrics,
            lambda metrics: metrics.get('somabrain_operator_reconciles_total{outcome="ok"}', 0) > 0,
            "it is looked at",
        )
        time.sleep(1)
        assert api.writes() == before
        brain.apply(replicas=2)
        eventually(lambda: brain.deployment()["spec"]["replicas"], lambda replicas: replicas == 2, "the edit is done")


def test_older_crd_is_reported_and_status_omits_unknown_fields(api: Api, tmp_path: Path) -> None:
    """An operator newer than the definition serves, and writes a status without the fields and values that it lacks.

    Log and `/healthz` name them and the remedy.
    """
    manifests = rendered()
    (definition,) = (each for each in manifests if each["kind"] == DEFINITION)
    older = copy.deepcopy(definition)
    fields = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    del fields["spec"]["properties"]["probes"]
    del fields["status"]["properties"]["configHash"]
    fields["status"]["properties"]["conditions"]["items"]["properties"]["type"]["enum"].remove("Paused")
    for manifest in [older, *(each for each in manifests if each["kind"] != DEFINITION)]:
        api.create(manifest, namespace_of(manifest))
    wait_for_kind(api)
    brain = Brain(api, "demo")
    brain.secrets()
    brain.apply()
    with operator(account_of(api, tmp_path), tmp_path / "log") as started:
        started.wait_until_started()
        ControllerStub(brain).serve()
        status = brain.resource()["status"]
        assert "configHash" not in status
        assert {"Ready", "Paused"} & {each["type"] for each in status["conditions"]} == {"Ready"}
        lacks = "it lacks spec.probes, status.configHash, status.conditions[].type=Paused. They cannot be set"
        assert lacks in started.log.read_text()
        report = json.loads(started.get("/healthz"))
        assert report["status"] == "degraded"
        assert any("apply crds/" in reason for reason in report["reasons"])


@pytest.fixture
def former_definition() -> Object:
    """The definition of the previous version, as its chart installs it."""
    paths = local_paths()
    previous = previous_release.ensure(paths, Progress(paths.cache / "durations.json"))
    definition: Object = yaml.safe_load((previous.checkout / "crds" / f"{NAME}.yaml").read_text())
    return definition


def test_deprecated_field_names_keep_their_meaning(api: Api, tmp_path: Path, former_definition: Object) -> None:
    """A resource that was applied to the previous definition is not rewritten, and keeps its meaning when rendered.

    A default that the previous one filled in gives way to a field under its present name, while an explicit value
    conflicts with it.
    """
    manifests = rendered()
    (definition,) = (each for each in manifests if each["kind"] == DEFINITION)
    for manifest in [former_definition, *(each for each in manifests if each["kind"] != DEFINITION)]:
        api.create(manifest, namespace_of(manifest))
    wait_for_kind(api)
    brain = Brain(api, "demo")
    brain.secrets()
    brain.apply(
        events={"brokers": ["kafka:9092"], "holdSeconds": 3600},
        config={"encoder": {"endpoints": [{**ENDPOINT, "characters": 500}]}},
    )
    stored = brain.resource()
    (endpoint,) = stored["spec"]["config"]["encoder"]["endpoints"]
    assert endpoint["breakerRestSeconds"] == 10, "the previous definition filled in its default"

    newer = {"spec": {"versions": definition["spec"]["versions"]}}
    api.client.patch(KINDS[DEFINITION], NAME, newer, patch_type=PatchType.MERGE)
    eventually(lambda: api.get(DEFINITION, NAME, ""), lambda it: "unpublishedRetentionSeconds" in str(it), "is stored")
    with operator(account_of(api, tmp_path), tmp_path / "operator") as process:
        process.wait_until_started()
        ControllerStub(brain).serve()
        settings = brain.child("ConfigMap", "config")["data"]
        (rendered_endpoint,) = json.loads(settings["SOMABRAIN_ENCODER__ENDPOINTS"])
        assert settings["SOMABRAIN_EVENTS__UNPUBLISHED_RETENTION_S"] == "3600"
        assert (rendered_endpoint["max_input_characters"], rendered_endpoint["breaker_reset_s"]) == (500, 10)
        live = brain.resource()
        assert (live["spec"], live["metadata"]["generation"]) == (stored["spec"], 1)

        with pytest.raises(Refused, match="holdSeconds is the former name"):
            brain.apply(events={"unpublishedRetentionSeconds": 60})
        brain.apply(events={"unpublishedRetentionSeconds": 60, "holdSeconds": None})
        brain.apply(config={"encoder": {"endpoints": [{**endpoint, "breakerResetSeconds": 7}]}})
        eventually(
            lambda: brain.child("ConfigMap", "config")["data"],
            lambda it: it["SOMABRAIN_EVENTS__UNPUBLISHED_RETENTION_S"] == "60" and '"breaker_reset_s": 7' in str(it),
            "the settings under their present names",
        )
