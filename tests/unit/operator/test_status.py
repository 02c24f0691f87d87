"""Ready means serving as specified, and every failure is reported with its cause."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from somabrain_operator.kube.names import RENDERED_HASH, ChildId
from somabrain_operator.observe.state import ObservedState
from somabrain_operator.render.migration import migration_hash
from somabrain_operator.status import render_status
from tests.unit.operator import samples
from tests.unit.operator.samples import (
    DEPLOYMENT,
    conditions,
    job,
    migrated,
    observed,
    plan,
    pod,
    rolled_out,
    settled,
    spec,
    waiting,
)

AUTOSCALER = ChildId("HorizontalPodAutoscaler", DEPLOYMENT.name)
RUNNING = {"name": "server", "image": samples.IMAGE, "state": {"running": {}}}


def serving(**fields: Any) -> ObservedState:
    """Return a resource that is migrated, rolled out and ready, with its pods."""
    state = settled(observed(spec(**fields), status=migrated()))
    replicas = state.brain.spec.replicas if state.brain.spec else 0
    return replace(state, pods=tuple(pod(f"p{number}") for number in range(replicas)))


def with_deployment_status(state: ObservedState, **status: Any) -> ObservedState:
    """Return the same state with the Deployment's status changed."""
    live: Any = state.children[DEPLOYMENT]
    return replace(state, children={**state.children, DEPLOYMENT: {**live, "status": {**live["status"], **status}}})


def with_unready_pods(state: ObservedState, report: str) -> ObservedState:
    """Return the same state with no pod ready and a report of the cause for each."""
    pods = tuple(pod(f"p{number}", ready=False, containers=[RUNNING]) for number in range(len(state.pods)))
    fallen = with_deployment_status(replace(state, pods=pods), readyReplicas=0)
    return replace(fallen, reports={f"p{number}": report for number in range(len(pods))})


def test_conditions_of_serving_resource() -> None:
    """A serving resource is ready, valid, migrated and available; not progressing, degraded or paused."""
    reported = conditions(serving())
    assert {kind: each["status"] for kind, each in reported.items()} == {
        "Ready": "True",
        "ConfigValid": "True",
        "ReferencesResolved": "True",
        "Migrated": "True",
        "Available": "True",
        "Progressing": "False",
        "Degraded": "False",
        "Paused": "False",
        "Reconciling": "False",
        "Stalled": "False",
    }
    assert reported["Ready"]["message"] == "1 of 1 pods serve."


def test_status_has_replicas_selector_and_endpoint() -> None:
    """The status has the numbers, the selector and the endpoint that autoscalers and clients read."""
    status = render_status(plan(serving(replicas=2)), serving(replicas=2).children)
    assert {key: status[key] for key in ("replicas", "readyReplicas", "updatedReplicas", "phase", "version")} == {
        "replicas": 2,
        "readyReplicas": 2,
        "updatedReplicas": 2,
        "phase": "Ready",
        "version": "0.2.0",
    }
    assert status["endpoint"] == "dns:///quickstart-headless.demo.svc:50052"
    assert "app.kubernetes.io/instance=quickstart" in str(status["selector"])


def test_unavailable_message_names_pods_with_redacted_reason() -> None:
    """Available=False names the pods that do not serve and their reports, without secrets."""
    state = with_unready_pods(
        serving(replicas=2), "PostgreSQL cannot be reached at postgresql://u:hunter22@pg:5432/somabrain."
    )
    reported = conditions(state)
    assert reported["Available"]["status"] == "False"
    assert reported["Available"]["message"] == (
        "No pod serves. Pod p0: PostgreSQL cannot be reached at [redacted] "
        "Pod p1: PostgreSQL cannot be reached at [redacted]"
    )
    assert (reported["Degraded"]["status"], reported["Ready"]["status"]) == ("True", "False")
    assert render_status(plan(state), state.children)["phase"] == "Degraded"


def test_partial_outage_is_available_and_degraded() -> None:
    """With one of two pods ready the service is available and degraded."""
    state = with_deployment_status(serving(replicas=2), readyReplicas=1)
    state = replace(state, pods=(pod("p0"), pod("p1", ready=False, containers=[RUNNING])), reports={"p1": "No disk."})
    reported = conditions(state)
    assert (reported["Available"]["status"], reported["Degraded"]["status"], reported["Ready"]["status"]) == (
        "True",
        "True",
        "False",
    )
    assert reported["Degraded"]["message"] == "Pod p1: No disk."


@pytest.mark.parametrize(
    ("reason", "degraded"), [("FailedGetResourceMetric", "True"), ("ScalingDisabled", "False"), ("", "False")]
)
def test_failing_autoscaler_is_degraded_and_ready(reason: str, degraded: str) -> None:
    """A failing autoscaler is Degraded and leaves Ready; a disabled one or one without conditions is not a failure."""
    state = serving(autoscaling={"min": 1, "max": 3})
    autoscaler: Any = state.children[AUTOSCALER]
    scaling = [{"type": "ScalingActive", "status": "False", "reason": reason, "message": "no metrics known"}]
    status = {"conditions": scaling if reason else []}
    reported = conditions(replace(state, children={**state.children, AUTOSCALER: {**autoscaler, "status": status}}))
    assert (reported["Degraded"]["status"], reported["Ready"]["status"]) == (degraded, "True")
    assert (f"{DEPLOYMENT.name} does not scale: no metrics known." in reported["Degraded"]["message"]) == (
        degraded == "True"
    )


def test_missing_secret_leaves_service_available() -> None:
    """With a Secret missing the old pods stay available, and Ready and Degraded report it."""
    state = serving()
    missing = replace(state, references=tuple(replace(each, exists=False, digests={}) for each in state.references))
    reported = conditions(missing)
    assert {kind: reported[kind]["status"] for kind in ("Available", "ReferencesResolved", "Ready", "Degraded")} == {
        "Available": "True",
        "ReferencesResolved": "False",
        "Ready": "False",
        "Degraded": "True",
    }
    assert reported["Migrated"]["status"] == "Unknown"


def test_completed_migration_stays_recorded_with_missing_secret() -> None:
    """A completed migration stays recorded while a Secret is missing; otherwise it would run again."""
    state = serving()
    missing = replace(state, references=tuple(replace(each, exists=False, digests={}) for each in state.references))
    status: Any = render_status(plan(missing), missing.children)
    assert status["migration"]["completedAt"] == "2026-01-02T03:00:00Z"


def test_failed_migration_leaves_service_available() -> None:
    """A failed migration is Migrated=False and Degraded=True with the Job's message, and Available stays True."""
    before = serving()
    changed = replace(
        before,
        brain=replace(before.brain, spec=spec(version="0.3.0"), status=migrated()),
        references=samples.resolved(spec()),
    )
    fingerprint = migration_hash("ghcr.io/somabrain/somabrain-service:0.3.0", "hash-of-owner-dsn")
    name = f"quickstart-migrate-{fingerprint[:8]}-1"
    dead = pod("m", component="migrate", ready=False, containers=[samples.terminated("no such role.")], job_name=name)
    state = replace(changed, jobs=(job(state="Failed", fingerprint=fingerprint),), pods=(*before.pods, dead))
    reported = conditions(state)
    assert {kind: reported[kind]["status"] for kind in ("Migrated", "Degraded", "Available", "Ready")} == {
        "Migrated": "False",
        "Degraded": "True",
        "Available": "True",
        "Ready": "False",
    }
    assert "no such role." in reported["Migrated"]["message"]


def test_deployment_is_not_ready_until_generation_is_observed() -> None:
    """Ready is False while the Deployment's observedGeneration is behind: its numbers are outdated."""
    state = serving()
    live: Any = state.children[DEPLOYMENT]
    behind = {**live, "metadata": {**live["metadata"], "generation": 2}}
    reported = conditions(replace(state, children={**state.children, DEPLOYMENT: behind}))
    assert (reported["Ready"]["status"], reported["Progressing"]["status"]) == ("False", "True")
    assert reported["Ready"]["message"] == "The cluster's Deployment controller has not observed the last change yet."


@pytest.mark.parametrize("edit", ["image", "container"])
def test_paused_resource_with_drift_is_not_ready(edit: str) -> None:
    """A paused resource whose Deployment was edited by hand is not Ready."""
    state = serving_paused()
    live: Any = state.children[DEPLOYMENT]
    template = live["spec"]["template"]
    server = template["spec"]["containers"][0]
    containers = [{**server, "image": "other"}] if edit == "image" else [server, {"name": "x", "image": "x"}]
    pod_spec = {**template["spec"], "containers": containers}
    edited = {**live, "spec": {**live["spec"], "template": {**template, "spec": pod_spec}}}
    reported = conditions(replace(state, children={**state.children, DEPLOYMENT: edited}))
    assert (reported["Ready"]["status"], reported["Progressing"]["reason"]) == ("False", "ChangesWait")


def serving_paused() -> ObservedState:
    """Return a paused resource whose children are all as rendered."""
    return replace(observed(spec(paused=True), status=migrated()), children=serving().children, pods=serving().pods)


def test_paused_serving_resource_is_ready() -> None:
    """A paused resource that serves is Ready."""
    reported = conditions(serving_paused())
    assert (reported["Paused"]["status"], reported["Ready"]["status"]) == ("True", "True")


def test_starting_pods_are_progressing_not_degraded() -> None:
    """Pods that are merely starting are Progressing, not Degraded."""
    state = with_deployment_status(
        serving(),
        readyReplicas=0,
        conditions=[{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}],
    )
    state = replace(state, pods=(pod("p0", ready=False, containers=[waiting("ContainerCreating")]),))
    reported = conditions(state)
    assert {kind: reported[kind]["status"] for kind in ("Ready", "Progressing", "Degraded", "Available")} == {
        "Ready": "False",
        "Progressing": "True",
        "Degraded": "False",
        "Available": "False",
    }
    assert reported["Available"]["message"] == "No pod serves. Pod p0: it is starting."


def test_unpullable_image_is_degraded_and_names_field() -> None:
    """An image that cannot be pulled is reported before the progress deadline."""
    before = serving(image="registry.example/brain:nope", migration={"enabled": False})
    state = with_deployment_status(before, readyReplicas=1, replicas=2, updatedReplicas=1)
    state = replace(state, pods=(pod("old"), pod("new", ready=False, containers=[waiting("ErrImagePull")])))
    live: Any = state.children[DEPLOYMENT]
    assert live["status"]["replicas"] == 2
    reported = conditions(with_deployment_status(state, readyReplicas=0))
    assert reported["Degraded"]["status"] == "True"
    assert "correct spec.image" in reported["Degraded"]["message"]


def test_exceeded_progress_deadline_is_degraded() -> None:
    """An exceeded progress deadline is Degraded with the reason Stalled."""
    stalled = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    state = with_deployment_status(serving(), conditions=stalled, readyReplicas=0)
    reported = conditions(state)
    assert (reported["Degraded"]["reason"], reported["Progressing"]["status"]) == ("Stalled", "False")


def test_replica_failure_message_is_reported() -> None:
    """The message of the Deployment's condition ReplicaFailure is part of Degraded."""
    refused = [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small"}]
    reported = conditions(
        with_deployment_status(serving(), conditions=refused, readyReplicas=0, replicas=0, updatedReplicas=0)
    )
    assert "the pods cannot be created: exceeded quota: small" in reported["Degraded"]["message"]


def test_zero_replicas_is_hibernated() -> None:
    """With 0 replicas the resource is Hibernated: Ready, because the spec is met, and not Available."""
    state = serving(replicas=0)
    reported = conditions(state)
    assert (reported["Available"]["reason"], reported["Ready"]["status"], reported["Degraded"]["status"]) == (
        "Hibernated",
        "True",
        "False",
    )
    assert render_status(plan(state), state.children)["phase"] == "Hibernated"


def test_rejected_apply_is_reported() -> None:
    """A child that the API server refuses is reported by Ready and Degraded."""
    reported = conditions(serving(), refusal="The API server refused Deployment demo/quickstart-server: no.")
    assert (reported["Ready"]["status"], reported["Degraded"]["reason"]) == ("False", "ApplyRefused")


def test_last_transition_time_changes_only_with_status() -> None:
    """lastTransitionTime changes with a condition's status, not with its message."""
    state = serving()
    earlier = "2026-01-01T00:00:00Z"
    remembered = {
        **migrated(),
        "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": earlier},
            {"type": "Available", "status": "False", "lastTransitionTime": earlier},
        ],
    }
    reported = conditions(replace(state, brain=replace(state.brain, status=remembered)))
    assert reported["Ready"]["lastTransitionTime"] == earlier
    assert reported["Available"]["lastTransitionTime"] == "2026-01-02T03:04:05Z"


def test_every_condition_has_observed_generation() -> None:
    """Each condition has the observedGeneration."""
    state = serving()
    reported = conditions(replace(state, brain=replace(state.brain, generation=7)))
    assert {each["observedGeneration"] for each in reported.values()} == {7}


def test_status_is_idempotent() -> None:
    """A status computed from itself is the same; otherwise it would be written in a loop."""
    state = serving()
    first = render_status(plan(state), state.children)
    later = replace(state, brain=replace(state.brain, status=first), now=state.now.replace(year=2027))
    assert render_status(plan(later), later.children) == first


def test_deployment_with_stale_hash_is_not_ready() -> None:
    """A Deployment applied for an earlier spec is not Ready."""
    state = serving()
    live: Any = state.children[DEPLOYMENT]
    annotations = {**live["metadata"]["annotations"], RENDERED_HASH: "other"}
    older = {**live, "metadata": {**live["metadata"], "annotations": annotations}}
    assert conditions(replace(state, children={**state.children, DEPLOYMENT: older}))["Ready"]["status"] == "False"


def test_deployment_of_other_owner_is_not_counted() -> None:
    """The numbers of another owner's Deployment are not reported."""
    state = observed(status=migrated())
    theirs = rolled_out(
        {"kind": "Deployment", "metadata": {"name": "quickstart-server"}, "spec": {"replicas": 5}}, 5, 5
    )
    status = render_status(plan(state), {DEPLOYMENT: theirs})
    assert status["readyReplicas"] == 0


def test_version_of_other_repository_is_full_image() -> None:
    """The version is the tag of a release, and the whole image for any other repository."""
    state = serving(image="registry.example/brain:2", migration={"enabled": False})
    state = replace(state, pods=(pod("p0", image="registry.example/brain:2"),))
    status = render_status(plan(state), state.children)
    assert (status["version"], status["targetVersion"]) == ("registry.example/brain:2", "registry.example/brain:2")


def test_version_is_unset_with_two_images() -> None:
    """During a rollout, with two images, the status has no version."""
    state = replace(serving(), pods=(pod("p0"), pod("p1", image="other:1")))
    assert "version" not in render_status(plan(state), state.children)


def test_surge_pod_is_counted() -> None:
    """A surge pod is counted: the message is never `2 of 1`."""
    state = with_deployment_status(serving(), replicas=2, readyReplicas=2, updatedReplicas=1)
    assert conditions(state)["Available"]["message"] == "2 of 2 pods serve."


def test_remaining_drift_suggests_admission_webhook() -> None:
    """A field that differs after it was applied is reported, with an admission webhook as likely cause."""
    state = serving()
    live: Any = state.children[DEPLOYMENT]
    undone = {**live, "spec": {**live["spec"], "revisionHistoryLimit": 9}}
    reported = conditions(state, children={**state.children, DEPLOYMENT: undone})
    assert (reported["Ready"]["status"], reported["Degraded"]["reason"]) == ("False", "DriftRemains")
    assert "(spec.revisionHistoryLimit is changed); look for an admission webhook" in reported["Degraded"]["message"]
    assert "add 'Deployment spec.revisionHistoryLimit' to spec.ignoreDifferences" in reported["Degraded"]["message"]


def test_ignored_differences_are_not_drift() -> None:
    """A field of spec.ignoreDifferences, or one below it, may differ; others are still reported."""
    accepted = ["Deployment spec.revisionHistoryLimit", "Deployment spec.template.spec.containers[0]"]
    state = serving(ignoreDifferences=accepted)
    live: Any = state.children[DEPLOYMENT]
    template = live["spec"]["template"]
    (container,) = template["spec"]["containers"]
    mirrored = {**template, "spec": {**template["spec"], "containers": [{**container, "image": "mirror/brain:1"}]}}
    changed = {**live, "spec": {**live["spec"], "revisionHistoryLimit": 9, "template": mirrored}}
    assert conditions(state, children={**state.children, DEPLOYMENT: changed})["Ready"]["status"] == "True"
    also = {**changed, "spec": {**changed["spec"], "progressDeadlineSeconds": 9}}
    message = conditions(state, children={**state.children, DEPLOYMENT: also})["Degraded"]["message"]
    assert "(spec.progressDeadlineSeconds is changed)" in message


def test_remaining_drift_of_other_child_is_degraded_and_ready() -> None:
    """A Service that a webhook changes permanently makes the resource Degraded, but it is Ready."""
    state = serving()
    identity = ChildId("Service", "quickstart-grpc")
    live: Any = state.children[identity]
    undone = {**live, "spec": {**live["spec"], "type": "LoadBalancer"}}
    reported = conditions(state, children={**state.children, identity: undone})
    assert (reported["Ready"]["status"], reported["Degraded"]["reason"]) == ("True", "DriftRemains")
    assert "add 'Service spec.type' to spec.ignoreDifferences" in reported["Degraded"]["message"]


def test_evicted_pod_is_ignored() -> None:
    """A Failed pod, as an eviction leaves it behind, is ignored."""
    evicted: Any = pod("p1", image="other:1", ready=False)
    evicted = {**evicted, "status": {**evicted["status"], "phase": "Failed"}}
    state = replace(serving(), pods=(pod("p0"), evicted))
    assert render_status(plan(state), state.children)["version"] == "0.2.0"
    short = replace(with_deployment_status(serving(), readyReplicas=0), pods=(pod("p0", ready=False), evicted))
    assert "p1" not in conditions(short)["Available"]["message"]


def test_same_request_ignores_status_and_detects_edits() -> None:
    """A changed status leaves the request the same; another generation, annotation or deletion does not."""
    brain = observed().brain
    assert brain.same_request_as(replace(brain, status={"phase": "Ready"}))
    for edited in ({"generation": 2}, {"annotations": {"somabrain.io/retry-migration": "1"}}, {"deleting": True}):
        assert not brain.same_request_as(replace(brain, **edited))


def test_failing_new_pod_is_degraded_during_rollout() -> None:
    """A rollout whose new pod cannot start is Degraded although the old pods serve."""
    state = with_deployment_status(serving(), replicas=2, readyReplicas=1, updatedReplicas=1)
    stuck = pod("new", ready=False, containers=[waiting("CreateContainerConfigError", "no such file")])
    reported = conditions(replace(state, pods=(pod("old"), stuck)))
    assert (reported["Available"]["status"], reported["Degraded"]["reason"]) == ("True", "PodsNotReady")
    assert "Pod new: container server cannot start" in reported["Degraded"]["message"]
