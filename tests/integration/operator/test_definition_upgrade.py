"""The definition is upgraded with resources stored, and the operator taken away and put back: memories serve on."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lightkube.types import PatchType

from somabrain_local.loopback import api_server
from tests.integration.operator.api import KINDS, Api, Object, api_of, eventually
from tests.integration.operator.brains import Brain, ControllerStub
from tests.integration.operator.chart import SYSTEM, account_of, namespace_of, rendered, wait_for_kind
from tests.integration.operator.process import operator

DEFINITION, NAME = "CustomResourceDefinition", "somabrains.somabrain.io"
RIGHTS = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount")


@pytest.fixture
def api() -> Iterator[Api]:
    """An API server of its own."""
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


def test_what_is_stored_lives_through_an_upgrade_and_a_reinstallation(api: Api, tmp_path: Path) -> None:
    """A resource of an older definition gets the newer one's defaults and serves; without the operator and its rights
    its Deployment stays; with both back nothing is written, and the next edit is done."""
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
        eventually(second.metrics, lambda told: told.get('somabrain_operator_reconciles_total{outcome="ok"}', 0) > 0,
                   "it is looked at")  # fmt: skip
        time.sleep(1)
        assert api.writes() == before
        brain.apply(replicas=2)
        eventually(lambda: brain.deployment()["spec"]["replicas"], lambda found: found == 2, "the edit is done")
