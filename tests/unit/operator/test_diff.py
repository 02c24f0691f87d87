"""Drift is detected in every field, defaults are not taken for it, and removing it takes exactly one patch."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from somabrain_operator.diff.foreign import drift, removal_patch
from somabrain_operator.diff.subset import Difference, differences
from somabrain_operator.kube.names import child_id
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


def test_defaults_and_other_spellings_of_a_quantity_are_no_drift() -> None:
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
def test_every_edit_is_noticed_at_its_place(edit: Any, expected: str) -> None:
    """Each edit is reported with the path of its field in readable form."""
    stored = live()
    edit(stored)
    assert [str(each) for each in drift(RENDERED, stored)] == [expected]


def test_a_field_of_another_owner_is_foreign_and_a_default_is_not() -> None:
    """hostNetwork set by hand is drift; dnsPolicy, which has no owner, is not."""
    stored = live()
    stored["spec"]["template"]["spec"]["hostNetwork"] = True
    stored["metadata"]["managedFields"] = owned_by(
        "kubectl-edit", "Update", **{"f:spec": {"f:template": {"f:spec": {"f:hostNetwork": {}}}}}
    )
    assert [str(each) for each in drift(RENDERED, stored)] == [f"{POD}.hostNetwork is foreign"]


def test_a_field_inside_our_container_is_found_by_its_merge_key() -> None:
    """A privileged flag in a container that is ours is foreign."""
    stored = live()
    stored["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privileged"] = True
    path: Any = {"f:securityContext": {"f:privileged": {}}}
    fields = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"server"}': path}}}}}
    stored["metadata"]["managedFields"] = owned_by("kubectl-patch", "Update", **fields)
    assert [str(each) for each in drift(RENDERED, stored)] == [
        f"{POD}.containers[0].securityContext.privileged is foreign"
    ]


def test_status_subresources_and_our_own_fields_are_not_judged() -> None:
    """Fields of the status and fields that we applied are never foreign."""
    stored = live()
    stored["spec"]["paused"] = False
    ours = owned_by("somabrain-operator", "Apply", **{"f:spec": {"f:paused": {}}})
    theirs = [
        {"manager": "k", "operation": "Update", "subresource": "status", "fieldsV1": {"f:spec": {"f:paused": {}}}}
    ]
    stored["metadata"]["managedFields"] = ours + theirs
    assert drift(RENDERED, stored) == ()


def test_a_restart_by_kubectl_is_no_drift() -> None:
    """The annotation that `kubectl rollout restart` sets on the template is left alone."""
    stored = live()
    stored["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "now"
    path: Any = {"f:metadata": {"f:annotations": {"f:kubectl.kubernetes.io/restartedAt": {}}}}
    stored["metadata"]["managedFields"] = owned_by("kubectl-rollout", "Update", **{"f:spec": {"f:template": path}})
    assert drift(RENDERED, stored) == ()


def test_data_of_a_config_map_is_closed() -> None:
    """An additional key in our ConfigMap is drift: an unknown variable would keep the service from starting."""
    assert list(differences({"data": {"A": "1"}}, {"data": {"A": "1", "B": "2"}})) == [
        Difference(("data", "B"), "foreign")
    ]


def test_removal_goes_from_the_back_and_holds_for_one_version() -> None:
    """The patch removes later list items first and applies to one resourceVersion only."""
    stored = live()
    add_container(stored)
    stored["spec"]["template"]["spec"]["containers"].append({"name": "y", "image": "y"})
    add_volume(stored)
    assert removal_patch(RENDERED, stored, drift(RENDERED, stored)) == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "remove", "path": "/spec/template/spec/volumes/4"},
        {"op": "remove", "path": "/spec/template/spec/containers/2"},
        {"op": "remove", "path": "/spec/template/spec/containers/0"},
    ]


def test_a_list_with_one_renamed_is_put_back_whole() -> None:
    """A list with a renamed item is replaced as a whole, as the steps between would be invalid."""
    stored = live()
    stored["spec"]["template"]["spec"]["containers"][0]["name"] = "x"
    _, operation = removal_patch(RENDERED, stored, drift(RENDERED, stored))
    assert operation == {
        "op": "replace",
        "path": "/spec/template/spec/containers",
        "value": at(RENDERED, "spec", "template", "spec", "containers"),
    }


def test_a_key_with_a_slash_is_escaped() -> None:
    """A key is escaped for JSON Pointer (RFC 6901): / becomes ~1."""
    foreign = [Difference(("data", "a/b~c"), "foreign")]
    assert removal_patch({}, {"metadata": {"resourceVersion": "1"}}, foreign)[1] == {
        "op": "remove",
        "path": "/data/a~1b~0c",
    }


def test_what_lies_inside_something_removed_is_not_removed_twice() -> None:
    """Only the outermost of nested foreign fields is removed."""
    foreign = [Difference(("spec", "a"), "foreign"), Difference(("spec", "a", "b"), "foreign")]
    assert len(removal_patch({}, {"metadata": {"resourceVersion": "1"}}, foreign)) == 2
