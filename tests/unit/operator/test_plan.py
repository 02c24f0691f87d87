"""The plan carries out a SomaBrain's spec step by step, and names what blocks it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube.names import ChildId, child_id
from somabrain_operator.kube.objects import Manifest
from somabrain_operator.observe.state import ObservedState
from somabrain_operator.plan import STEPS, make_plan
from somabrain_operator.references.catalog import references_of
from somabrain_operator.references.resolved import ResolvedReference
from tests.unit.operator import samples
from tests.unit.operator.samples import migrated, observed, plan, settled, spec

EVERYTHING = [
    "ConfigMap/quickstart-applied",
    "ServiceAccount/quickstart-server",
    "Service/quickstart-grpc",
    "Service/quickstart-headless",
    "ConfigMap/quickstart-config",
    "ConfigMap/quickstart-policy",
    "Deployment/quickstart-server",
]


def applied(state: ObservedState) -> list[str]:
    return ["/".join(child_id(manifest)) for manifest in plan(state).apply]


def test_steps_run_in_safe_order() -> None:
    """References come before pods, the migration before the Deployment, and pruning last."""
    assert [step.__name__ for step in STEPS] == [
        "pause",
        "validate_spec",
        "check_version",
        "resolve_references",
        "add_base_objects",
        "provision_database",
        "migrate",
        "add_deployment",
        "add_autoscaler",
        "add_disruption_budget_and_network_policy",
        "add_mcp",
        "add_monitoring",
        "prune",
    ]


def test_migrated_resource_gets_all_children() -> None:
    """All children are applied, the Deployment last."""
    assert applied(observed(status=migrated())) == EVERYTHING


def test_unmigrated_resource_gets_job_without_deployment() -> None:
    """The Deployment waits for the migration."""
    job = f"Job/quickstart-migrate-{samples.FINGERPRINT[:8]}-1"
    assert applied(observed()) == [*EVERYTHING[1:4], job]


def test_missing_secret_message_names_field_and_remedy() -> None:
    """With a missing Secret nothing is applied, and the message names the object to create and its namespace."""
    desired = spec()
    state = observed(
        desired, references=tuple(ResolvedReference(each, exists=False) for each in references_of(desired))
    )
    planned = plan(state)
    assert planned.apply == ()
    finding = planned.conditions["ReferencesResolved"]
    assert (finding.status, finding.reason) == ("False", "NotFound")
    assert finding.message.startswith(
        "Secret somabrain-database, named by spec.database.secretRef.name, is not in namespace demo; "
        "create it with app-dsn, worker-dsn, or correct the name."
    )
    assert "spec.migration.database.secretRef.name" in finding.message


def test_forbidden_secret_is_not_reported_missing() -> None:
    """A Secret that may not be read is reported as such in the status, not as missing."""
    desired = spec()
    database, migration = samples.resolved(desired)
    refused = ResolvedReference(
        database.reference,
        exists=False,
        refusal="The operator has no permission for this request on Secret demo/x: no.",
    )
    finding = plan(observed(desired, references=(refused, migration))).conditions["ReferencesResolved"]
    assert finding.reason == "NotAllowed"
    assert finding.message.endswith(
        "cannot be read: The operator has no permission for this request on Secret demo/x: no."
    )


def test_missing_secret_key_is_named() -> None:
    """A missing key of a Secret is named."""
    desired = spec()
    database, migration = samples.resolved(desired)
    state = observed(desired, references=(replace(database, digests={"app-dsn": "x"}), migration))
    finding = plan(state).conditions["ReferencesResolved"]
    assert (finding.reason, finding.message) == (
        "KeyMissing",
        "Secret somabrain-database, named by spec.database.secretRef.name, lacks worker-dsn or has it empty; add it.",
    )


def test_policy_without_rego_is_reported() -> None:
    """A referenced ConfigMap needs a key that OPA loads."""
    desired = spec(opa={"policy": {"configMapRef": {"name": "mine"}}})
    *secrets, policy = samples.resolved(desired)
    state = observed(desired, references=(*secrets, replace(policy, digests={})))
    assert "ConfigMap mine, named by spec.opa.policy.configMapRef.name, lacks *.rego" in (
        plan(state).conditions["ReferencesResolved"].message
    )


def test_request_above_limit_is_rejected_with_both_fields() -> None:
    """The schema cannot compare quantities; the plan does."""
    state = observed(spec(resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "1024Mi"}}))
    finding = plan(state).conditions["ConfigValid"]
    assert finding.message == (
        "spec.resources.requests.memory (2Gi) is more than spec.resources.limits.memory (1024Mi); "
        "lower the request or raise the limit."
    )
    assert plan(state).apply == ()


def test_invalid_spec_is_reported_in_config_valid() -> None:
    """An invalid stored spec still gets a status."""
    state = observed()
    broken = replace(state, brain=replace(state.brain, spec=None, problem="spec.replicas: too many; correct it."))
    planned = plan(broken)
    assert (planned.conditions["ConfigValid"].message, planned.apply) == ("spec.replicas: too many; correct it.", ())


def test_paused_resource_is_observed_but_not_changed() -> None:
    """A paused resource has all its conditions, and nothing is applied or deleted."""
    planned = plan(observed(spec(paused=True), status=migrated()))
    assert (planned.apply, planned.delete) == ((), ())
    assert planned.conditions["Paused"].status == "True"
    assert planned.conditions["ReferencesResolved"].status == "True"


def test_request_above_limit_is_reported_for_every_container() -> None:
    """Migration and Vault's agent are checked as the servers are."""
    excessive = {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}
    desired = spec(migration={**samples.MINIMAL["migration"], "resources": excessive})
    message = plan(observed(desired)).conditions["ConfigValid"].message
    assert message.startswith("spec.migration.resources.requests.cpu (2) is more than")


def test_child_of_other_owner_is_not_adopted() -> None:
    """A Service of the same name with another owner is left as it is, and the message names it."""
    theirs: Manifest = {"kind": "Service", "metadata": {"name": "quickstart-grpc", "namespace": "demo"}}
    planned = plan(observed(status=migrated(), children=[theirs]))
    assert planned.conditions["Degraded"].message == (
        "Service quickstart-grpc exists and does not belong to this resource; "
        "delete it, or give this resource another name."
    )
    assert "quickstart-grpc" not in {child_id(each).name for each in planned.apply}


def test_plan_waits_for_deletion_of_earlier_children() -> None:
    """A resource that was created again waits for the garbage collector to delete the former children."""
    before = settled(observed(status=migrated()))
    again = replace(before, brain=replace(before.brain, uid="another", status={}))
    planned = plan(again)
    assert (planned.apply, planned.failed) == ((), False)
    conditions = samples.conditions(again)
    assert (conditions["Degraded"]["status"], conditions["Progressing"]["reason"]) == ("False", "Replacing")
    assert (
        "ServiceAccount quickstart-server belongs to an earlier resource of this name" in conditions["Ready"]["message"]
    )


def orphaned(state: ObservedState) -> ObservedState:
    """Return the same children as `kubectl delete --cascade=orphan` leaves them, and the resource created again."""
    children: dict[Any, Any] = {**state.children}
    for identity, live in children.items():
        metadata = {name: value for name, value in live["metadata"].items() if name != "ownerReferences"}
        children[identity] = {**live, "metadata": metadata}
    return replace(state, children=children, brain=replace(state.brain, uid="another"))


def test_orphaned_children_are_adopted() -> None:
    """Children without an owner that have our labels and our hash are applied with the new resource as their owner."""
    before = settled(observed(status=migrated()))
    again = orphaned(before)
    planned = plan(again)
    assert planned.halted_by is None
    assert {child_id(each) for each in planned.apply} == set(before.children)
    owners: list[Any] = [each["metadata"] for each in planned.apply]
    assert {each["ownerReferences"][0]["uid"] for each in owners} == {"another"}
    deployment: Any = next(each for each in planned.apply if each["kind"] == "Deployment")
    former: Any = before.children[samples.DEPLOYMENT]
    assert deployment["spec"] == former["spec"]


def test_orphaned_children_are_unchanged_during_migration() -> None:
    """While the new resource migrates, what serves is neither adopted nor deleted, and it counts as available."""
    before = settled(observed(status=migrated()))
    again = orphaned(before)
    migrating = replace(again, brain=replace(again.brain, status={}))
    planned = plan(migrating)
    assert planned.conditions["Migrated"].reason == "Running"
    assert [each["kind"] for each in planned.apply] == ["ServiceAccount", "Service", "Service", "Job"]
    assert planned.delete == ()
    assert samples.conditions(migrating)["Available"]["status"] == "True"


def test_orphaned_child_absent_from_spec_is_pruned() -> None:
    """An orphaned child is deleted if the new resource does not have it: an old autoscaler would go on scaling."""
    scaled = settled(observed(spec(resources={"requests": {"cpu": "1"}}, autoscaling={"max": 3}), status=migrated()))
    again = orphaned(scaled)
    desired = spec()
    planned = plan(replace(again, brain=replace(again.brain, spec=desired), references=samples.resolved(desired)))
    assert [each.kind for each in planned.delete] == ["HorizontalPodAutoscaler"]


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {}},
        {"annotations": {}},
        {"ownerReferences": [{"uid": "x", "kind": "Other", "controller": True}]},
    ],
)
def test_object_without_own_labels_and_hash_is_not_adopted(change: dict[str, Any]) -> None:
    """An object without our labels or our hash, or with another controller, is not adopted."""
    again = orphaned(settled(observed(status=migrated())))
    identity = ChildId("Service", "quickstart-grpc")
    live: Any = again.children[identity]
    theirs = {**live, "metadata": {**live["metadata"], **change}}
    planned = plan(replace(again, children={**again.children, identity: theirs}))
    assert planned.conditions["Degraded"].reason == "NameTaken"


def test_last_applied_of_other_owner_is_not_overwritten() -> None:
    """A ConfigMap of another owner under the name of the record is left as it is, and the message names it."""
    theirs: Manifest = {"kind": "ConfigMap", "metadata": {"name": "quickstart-applied", "namespace": "demo"}}
    planned = plan(observed(status=migrated(), children=[theirs]))
    assert "ConfigMap quickstart-applied exists" in planned.conditions["Degraded"].message
    assert "quickstart-applied" not in {child_id(each).name for each in planned.apply}
    assert "quickstart-server" in {child_id(each).name for each in planned.apply}


def test_default_policy_is_pruned_after_rollout_of_custom_policy() -> None:
    """An unused child is pruned, but not before the pods that used it are replaced."""
    before = settled(observed(status=migrated()))
    desired = spec(opa={"policy": {"configMapRef": {"name": "mine"}}})
    changed = replace(before, brain=replace(before.brain, spec=desired), references=samples.resolved(desired))
    assert plan(changed).delete == ()
    after = settled(changed)
    left = {**after.children, **{k: v for k, v in before.children.items() if k.name == "quickstart-policy"}}
    assert [each.name for each in plan(replace(after, children=left)).delete] == ["quickstart-policy"]


def test_objects_of_other_owners_are_never_pruned() -> None:
    """Only objects that this resource owns are deleted."""
    desired = spec(opa={"policy": {"configMapRef": {"name": "mine"}}})
    state = settled(observed(desired, status=migrated()))
    theirs: Manifest = {"kind": "ConfigMap", "metadata": {"name": "quickstart-policy", "namespace": "demo"}}
    assert plan(replace(state, children={**state.children, child_id(theirs): theirs})).delete == ()


@pytest.mark.parametrize(
    ("change", "rolls"),
    [
        ({"config": {"logLevel": "debug"}}, True),
        ({"auth": {"scopeClaim": "/scope"}}, True),
        ({"replicas": 3}, False),
        ({"migration": {"database": {"secretRef": {"name": "somabrain-migration"}}, "backoffLimit": 5}}, False),
    ],
)
def test_config_hash_changes_only_with_startup_settings(change: dict[str, object], rolls: bool) -> None:
    """The config hash depends on settings, policy and used keys of Secrets only."""
    first, second = (plan(observed(desired, status=migrated())).config_hash for desired in (spec(), spec(**change)))
    assert (first != second) is rolls


def test_config_hash_depends_on_app_dsn_but_not_owner_dsn() -> None:
    """A changed app-dsn rolls the pods, which read it at their start; a changed owner-dsn does not."""
    desired = spec()
    database, migration = samples.resolved(desired)
    rotated = replace(database, digests={**database.digests, "app-dsn": "other"})
    owner = replace(migration, digests={"owner-dsn": "other"})
    plain = plan(observed(desired, status=migrated())).config_hash
    assert plan(observed(desired, references=(rotated, migration), status=migrated())).config_hash != plain
    assert plan(observed(desired, references=(database, owner), status=migrated())).config_hash == plain


def test_new_default_policy_changes_config_hash() -> None:
    """A new default policy rolls the pods, as OPA reads it only at its start."""
    newer = replace(samples.RELEASE, policy="package sb.policy\n")
    state = observed(status=migrated())
    assert make_plan(state, newer).config_hash != plan(state).config_hash


def with_settings_keys(desired: SomaBrainSpec, *keys: str) -> ObservedState:
    """Return the resource with Secrets and ConfigMaps of settings that have these keys."""
    digests = dict.fromkeys(keys, "x")
    references = samples.resolved(desired)
    return observed(
        desired,
        references=tuple(replace(each, digests=digests) if each.reference.all_keys else each for each in references),
        status=migrated(),
    )


@pytest.mark.parametrize(
    ("key", "setter"),
    [
        ("SOMABRAIN_LOG__LEVEL", "by this resource's own fields"),
        ("somabrain_log__level", "by this resource's own fields"),
        ("SOMABRAIN_POSTGRES_DSN", "by spec.database.secretRef"),
        ("SOMABRAIN_OWNER_DSN", "by spec.migration.database.secretRef"),
    ],
)
def test_setting_with_two_sources_is_rejected(key: str, setter: str) -> None:
    """A setting may not be set twice: one of the two would have no effect."""
    finding = plan(with_settings_keys(spec(secretRefs=[{"name": "more"}]), key)).conditions["ReferencesResolved"]
    message = f"Secret more, named by spec.secretRefs[0].name, has the key {key}, which is set {setter}; "
    assert (finding.reason, finding.message) == ("SettingTaken", message + "remove it there or here.")


def test_same_key_in_two_references_is_rejected() -> None:
    """Two sources may not have the same key, even one that is not a setting: both would be one file."""
    desired = spec(secretRefs=[{"name": "a"}], configMapRefs=[{"name": "b"}])
    finding = plan(with_settings_keys(desired, "ca.crt")).conditions["ReferencesResolved"]
    assert "ConfigMap b, named by spec.configMapRefs[0].name, has the key ca.crt" in finding.message
    assert (
        plan(with_settings_keys(spec(secretRefs=[{"name": "a"}]), "ca.crt")).conditions["ReferencesResolved"].status
        == "True"
    )


def test_vault_setting_conflicts_with_secret_key() -> None:
    """A file that Vault's agent writes counts as a setting like any other."""
    secrets = [{"path": "secret/data/x", "key": "k", "file": "SOMABRAIN_LOG__FORMAT"}]
    vault = {"address": "https://vault", "role": "r", "secrets": secrets}
    finding = plan(with_settings_keys(spec(secretRefs=[{"name": "a"}], vault=vault), "SOMABRAIN_LOG__FORMAT"))
    assert "which is set by spec.vault.secrets" in finding.conditions["ReferencesResolved"].message


def test_empty_settings_secret_is_accepted() -> None:
    """A Secret of settings must exist, and may be empty."""
    desired = spec(secretRefs=[{"name": "a"}])
    assert plan(with_settings_keys(desired)).conditions["ReferencesResolved"].status == "True"
    missing = tuple(
        replace(each, exists=False, digests={}) if each.reference.all_keys else each
        for each in samples.resolved(desired)
    )
    message = plan(observed(desired, references=missing)).conditions["ReferencesResolved"].message
    assert "is not in namespace demo; create it with the settings, or correct the name." in message


def test_vault_version_change_rolls_pods_and_migrates() -> None:
    """Another version of Vault's secrets rolls the pods and migrates: the owner's DSN may have changed."""
    vault = {
        "address": "https://vault",
        "role": "r",
        "secrets": [{"path": "secret/data/o", "key": "dsn", "file": "SOMABRAIN_OWNER_DSN"}],
    }
    first, second = (spec(migration={}, vault={**vault, "version": version}) for version in ("1", "2"))
    before, after = plan(observed(first)), plan(observed(second))
    assert before.config_hash != after.config_hash
    assert before.migration != after.migration


def test_renewed_certificate_does_not_change_config_hash() -> None:
    """A renewed certificate rolls no pods, as servers reload it; a missing one is reported."""
    desired = spec(grpc={"tls": {"secretRef": {"name": "certificate"}}})
    references = samples.resolved(desired)
    renewed = tuple(
        replace(each, digests=dict.fromkeys(each.digests, "new")) if "tls" in each.reference.field else each
        for each in references
    )
    assert (
        plan(observed(desired, references=references)).config_hash
        == plan(observed(desired, references=renewed)).config_hash
    )
    lacking = tuple(replace(each, digests={}) if "tls" in each.reference.field else each for each in references)
    message = plan(observed(desired, references=lacking)).conditions["ReferencesResolved"].message
    assert "Secret certificate, named by spec.grpc.tls.secretRef.name, lacks tls.crt, tls.key" in message


@pytest.mark.parametrize(
    ("fields", "image"),
    [
        ({}, samples.IMAGE),
        ({"version": "0.2.0"}, "ghcr.io/somabrain/somabrain-service:0.2.0"),
        ({"image": "registry.example/brain:1"}, "registry.example/brain:1"),
    ],
)
def test_image_defaults_to_operator_version(fields: dict[str, str], image: str) -> None:
    """`image` exactly, `version` of the operator's repository, or neither: the operator's own version."""
    assert plan(observed(spec(**fields))).image == image
