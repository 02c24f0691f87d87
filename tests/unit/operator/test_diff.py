"""Drift is detected in every field, defaults are not drift, and one patch removes all of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from somabrain_operator.diff.foreign import drift
from somabrain_operator.diff.put_back import needs_patch, put_back_patch, release_patch
from somabrain_operator.diff.subset import Difference, differences
from somabrain_operator.kube.names import RENDERED_HASH, child_id
from somabrain_operator.kube.objects import Manifest, at
from tests.unit.operator.samples import DEPLOYMENT, migrated, observed, plan

RENDERED: Manifest = next(each for each in plan(observed(status=migrated())).apply if child_id(each) == DEPLOYMENT)


def live() -> Any:
    """Return the Deployment as an API server stores it: with defaults, canonical quantities and a version."""
    stored: Any = copy.deepcopy(RENDERED)
    stored["metadata"] |= {"uid": "u", "resourceVersion": "7", "generation": 1}
    pod = stored["spec"]["template"]["spec"]
    pod |= {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler"}
    pod["containers"][0] |= {"terminationMessagePath": "/dev/termination-log"}
    pod["containers"][0]["livenessProbe"] |= {"successThreshold": 1}
    pod["containers"][0]["resources"]["limits"]["memory"] = "1024Mi"
    return stored


def owned_by(manager: str, operation: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"manager": manager, "operation": operation, "fieldsV1": fields}]


def test_defaults_and_equal_quantities_are_not_drift() -> None:
    """Defaults of the API server and equal quantities (1024Mi, 1Gi) are not drift."""
    assert drift(RENDERED, live()) == ()


def edit_image(stored: Any) -> None:
    stored["spec"]["template"]["spec"]["containers"][0]["image"] = "evil"


def edit_replicas(stored: Any) -> None:
    stored["spec"]["replicas"] = 9


def drop_probe(stored: Any) -> None:
    del stored["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]


def add_container(stored: Any) -> None:
    stored["spec"]["template"]["spec"]["containers"].insert(0, {"name": "x", "image": "x"})


def add_variable(stored: Any) -> None:
    stored["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "X", "value": "1"})


def double_variable(stored: Any) -> None:
    stored["spec"]["template"]["spec"]["containers"][0]["env"].append(
        {"name": "SOMABRAIN_SECRETS_DIR", "value": "/evil"}
    )


def add_volume(stored: Any) -> None:
    stored["spec"]["template"]["spec"]["volumes"].append({"name": "x", "emptyDir": {}})


def drop_capability(stored: Any) -> None:
    stored["spec"]["template"]["spec"]["containers"][0]["securityContext"]["capabilities"]["drop"] = []


def drop_label(stored: Any) -> None:
    del stored["metadata"]["labels"]["app.kubernetes.io/part-of"]


POD = "spec.template.spec"


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (edit_image, f"{POD}.containers[0].image is changed"),
        (edit_replicas, "spec.replicas is changed"),
        (drop_probe, f"{POD}.containers[0].readinessProbe is missing"),
        (add_container, f"{POD}.containers[0] is foreign"),
        (add_variable, f"{POD}.containers[0].env[1] is foreign"),
        (double_variable, f"{POD}.containers[0].env[1] is foreign"),
        (add_volume, f"{POD}.volumes[4] is foreign"),
        (drop_capability, f"{POD}.containers[0].securityContext.capabilities.drop is changed"),
        (drop_label, "metadata.labels.app.kubernetes.io/part-of is missing"),
    ],
)
def test_edit_is_reported_with_field_path(edit: Any, expected: str) -> None:
    """Each edit is reported with the path of its field in readable form."""
    stored = live()
    edit(stored)
    assert [str(each) for each in drift(RENDERED, stored)] == [expected]


def test_field_of_other_manager_is_foreign_unlike_default() -> None:
    """hostNetwork set by hand is drift; dnsPolicy, which has no owner, is not."""
    stored = live()
    stored["spec"]["template"]["spec"]["hostNetwork"] = True
    stored["metadata"]["managedFields"] = owned_by(
        "kubectl-edit", "Update", **{"f:spec": {"f:template": {"f:spec": {"f:hostNetwork": {}}}}}
    )
    assert [str(each) for each in drift(RENDERED, stored)] == [f"{POD}.hostNetwork is foreign"]


def test_foreign_field_in_own_container_is_detected_by_merge_key() -> None:
    """A privileged flag in a container that is ours is foreign."""
    stored = live()
    stored["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privileged"] = True
    path: Any = {"f:securityContext": {"f:privileged": {}}}
    fields = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"server"}': path}}}}}
    stored["metadata"]["managedFields"] = owned_by("kubectl-patch", "Update", **fields)
    assert [str(each) for each in drift(RENDERED, stored)] == [
        f"{POD}.containers[0].securityContext.privileged is foreign"
    ]


def test_status_and_own_fields_are_never_foreign() -> None:
    """Fields of the status and fields that we applied are never foreign."""
    stored = live()
    stored["spec"]["paused"] = False
    ours = owned_by("somabrain-operator", "Apply", **{"f:spec": {"f:paused": {}}})
    theirs = [
        {"manager": "k", "operation": "Update", "subresource": "status", "fieldsV1": {"f:spec": {"f:paused": {}}}}
    ]
    stored["metadata"]["managedFields"] = ours + theirs
    assert drift(RENDERED, stored) == ()


def test_kubectl_rollout_restart_is_not_drift() -> None:
    """The annotation that `kubectl rollout restart` sets on the template is left alone."""
    stored = live()
    stored["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "now"
    path: Any = {"f:metadata": {"f:annotations": {"f:kubectl.kubernetes.io/restartedAt": {}}}}
    stored["metadata"]["managedFields"] = owned_by("kubectl-rollout", "Update", **{"f:spec": {"f:template": path}})
    assert drift(RENDERED, stored) == ()


def test_extra_configmap_key_is_drift() -> None:
    """An additional key in our ConfigMap is drift: the service would not start with an unknown variable."""
    assert list(differences({"data": {"A": "1"}}, {"data": {"A": "1", "B": "2"}})) == [
        Difference(("data", "B"), "foreign")
    ]


def patch(stored: Any) -> list[Any]:
    """Return the operations that restore an edited object, by path."""
    test, *operations = put_back_patch(RENDERED, stored, drift(RENDERED, stored))
    assert test == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
    return sorted(operations, key=lambda each: str(at(each, "path")))


def patched(stored: Any, operations: list[Any]) -> Any:
    """Return an object after the operations of a JSON patch, none of which moves an item of a list (RFC 6902)."""
    result = copy.deepcopy(stored)
    for each in operations:
        *path, last = (step.replace("~1", "/").replace("~0", "~") for step in each["path"].split("/")[1:])
        parent = result
        for step in path:
            parent = parent[int(step) if isinstance(parent, list) else step]
        key = int(last) if isinstance(parent, list) else last
        if each["op"] == "remove":
            del parent[key]
        else:
            parent[key] = each["value"]
    return result


def test_list_with_foreign_items_is_replaced_whole() -> None:
    """A list with foreign items is replaced by the items that are ours, with the defaults that they have."""
    stored = live()
    before = copy.deepcopy(stored["spec"]["template"]["spec"])
    add_container(stored)
    stored["spec"]["template"]["spec"]["containers"].append({"name": "y", "image": "y"})
    add_volume(stored)
    assert patch(stored) == [
        {"op": "replace", "path": "/spec/template/spec/containers", "value": before["containers"]},
        {"op": "replace", "path": "/spec/template/spec/volumes", "value": before["volumes"]},
    ]


def test_renamed_list_item_is_restored_in_place() -> None:
    """The operation that restores our container also removes the one that replaced it."""
    stored = live()
    stored["spec"]["template"]["spec"]["containers"][0]["name"] = "x"
    operations = patch(stored)
    assert {"op": "replace", "path": "/spec/template/spec/containers/0/name", "value": "server"} in operations
    assert drift(RENDERED, patched(stored, operations)) == ()


def deployment_with_other_probe_handler(manager: str, operation: str) -> Any:
    stored = live()
    probe = stored["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
    del probe["httpGet"]
    probe["tcpSocket"] = {"port": 8080}
    path: Any = {"f:livenessProbe": {"f:tcpSocket": {".": {}, "f:port": {}}}}
    fields = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"server"}': path}}}}}
    stored["metadata"]["managedFields"] = owned_by(manager, operation, **fields)
    return stored


@pytest.mark.parametrize(("manager", "operation"), [("kubectl-edit", "Update"), ("somabrain-operator", "Update")])
def test_changed_probe_handler_is_reverted_in_one_patch(manager: str, operation: str) -> None:
    """The patch that restores our probe handler removes the foreign one, even if it is owned by our manager name."""
    probe = f"/{POD.replace('.', '/')}/containers/0/livenessProbe"
    ours: Any = at(RENDERED, "spec", "template", "spec", "containers")
    assert patch(deployment_with_other_probe_handler(manager, operation)) == [
        {"op": "add", "path": f"{probe}/httpGet", "value": ours[0]["livenessProbe"]["httpGet"]},
        {"op": "remove", "path": f"{probe}/tcpSocket"},
    ]


def defaulted_after_removal() -> Any:
    stored = live()
    path: Any = {"f:template": {"f:spec": {"f:dnsPolicy": {}}}}
    stored["metadata"]["managedFields"] = owned_by("somabrain-operator", "Update", **{"f:spec": path})
    return stored


def test_default_owned_by_own_manager_is_not_drift() -> None:
    """The default that the API server set when we removed an edit is ours, with the operation Update."""
    assert drift(RENDERED, defaulted_after_removal()) == ()


def test_restored_field_is_removed_when_no_longer_rendered() -> None:
    """A field that we restored by a patch and no longer render is removed: server-side apply would leave it."""
    stored = defaulted_after_removal()
    stored["metadata"]["annotations"][RENDERED_HASH] = "another"
    assert Difference(("spec", "template", "spec", "dnsPolicy"), "foreign") in drift(RENDERED, stored)


def test_release_patch_removes_only_ownership_of_drift() -> None:
    """Only the ownership of drifting fields is removed from their manager; our entries and other fields stay."""
    stored = live()
    spec: Any = {"f:paused": {}, "f:strategy": {"f:type": {}}, "f:template": {"f:spec": {"f:dnsPolicy": {}}}}
    stored["spec"]["paused"] = False
    applied = owned_by("somabrain-operator", "Apply", **{"f:spec": {"f:replicas": {}}})
    stored["metadata"]["managedFields"] = [*applied, *owned_by("kubectl-edit", "Update", **{"f:spec": spec})]
    _, operation = release_patch(RENDERED, stored)
    left = [*applied, *owned_by("kubectl-edit", "Update", **{"f:spec": {"f:strategy": {"f:type": {}}}})]
    assert operation == {"op": "replace", "path": "/metadata/managedFields", "value": left}


def test_atomic_list_of_other_manager_is_reported_as_changed() -> None:
    """An edit inside an atomic list, such as the audience of a token, shows only in the owner of the list."""
    stored = live()
    volumes = stored["spec"]["template"]["spec"]["volumes"]
    (position,) = (index for index, each in enumerate(volumes) if each["name"] == "issuer")
    volumes[position]["projected"]["sources"][0]["serviceAccountToken"]["audience"] = "evil"
    path: Any = {"f:volumes": {'k:{"name":"issuer"}': {"f:projected": {"f:sources": {}}}}}
    stored["metadata"]["managedFields"] = owned_by(
        "kubectl-edit", "Update", **{"f:spec": {"f:template": {"f:spec": path}}}
    )
    differences = drift(RENDERED, stored)
    assert [str(each) for each in differences] == [f"{POD}.volumes[{position}].projected.sources is changed"]
    assert not needs_patch(differences)


def test_reordered_list_items_are_drift() -> None:
    """Items of a keyed list in another order are drift: init containers start in theirs."""
    stored = live()
    stored["spec"]["template"]["spec"]["volumes"].reverse()
    differences = drift(RENDERED, stored)
    assert [str(each) for each in differences] == [f"{POD}.volumes is reordered"]
    assert needs_patch(differences)


def test_configmap_binary_data_is_foreign() -> None:
    """Keys under binaryData are files of the pods as those under data are."""
    stored: Any = {"data": {"A": "1"}, "binaryData": {"B": "MQ=="}, "metadata": {"resourceVersion": "7"}}
    differences = drift({"data": {"A": "1"}}, stored)
    assert differences == (Difference(("binaryData",), "foreign"),)
    assert put_back_patch({"data": {"A": "1"}}, stored, differences)[1:] == [{"op": "remove", "path": "/binaryData"}]


def test_key_with_slash_is_escaped_for_json_pointer() -> None:
    """A key is escaped for JSON Pointer (RFC 6901): / becomes ~1."""
    stored: Manifest = {"metadata": {"resourceVersion": "7"}, "data": {"a/b~c": "1", "d": "1"}}
    rendered: Manifest = {"data": {"d": "1"}}
    _, operation = put_back_patch(rendered, stored, drift(rendered, stored))
    assert operation == {"op": "remove", "path": "/data/a~1b~0c"}
