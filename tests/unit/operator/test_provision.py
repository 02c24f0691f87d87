"""A database is created before the migration, its passwords rotate without downtime, it is dropped only on request."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import yaml

from common.provisioning import parse_admin, parse_provisioned
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube import names
from somabrain_operator.kube.hashing import secret_hash
from somabrain_operator.kube.names import Key
from somabrain_operator.kube.objects import Manifest
from somabrain_operator.observe.parse import with_provisioned_secret
from somabrain_operator.observe.state import DatabaseInput, ObservedState
from somabrain_operator.plan import Plan, make_plan
from somabrain_operator.plan.deletion import Deletion, plan_deletion
from somabrain_operator.plan.provision import without_uncreated_provision_job
from somabrain_operator.references.catalog import ADMIN_FIELD
from somabrain_operator.references.resolved import ResolvedReference
from somabrain_operator.render.provision import database_name, is_provisioned_secret, secret_values
from somabrain_operator.status import render_deletion_status, render_status
from tests.golden.regenerate import FOLDER, provisioning
from tests.unit.operator import samples
from tests.unit.operator.samples import KEY, OWNER, UID, pod, rolled_out, terminated

RELEASE = replace(samples.RELEASE, provisions=True, finalizers=True)
ADMIN = {"uri": "postgresql://root:the-admin-password@pg.db.svc:5432/*?sslmode=require"}
RANDOM = tuple(f"{number:032x}" for number in range(1, 6))
MORE_RANDOM = tuple(f"{number:032x}" for number in range(11, 16))
PROVISION: Mapping[str, Any] = {"adminSecretRef": {"name": "admin"}}


def spec(provision: Mapping[str, Any] = PROVISION, **fields: Any) -> SomaBrainSpec:
    """Return a spec with a provisioned database."""
    return with_provisioned_secret(KEY, SomaBrainSpec.model_validate({"database": {"provision": provision}, **fields}))


def observed(
    desired: SomaBrainSpec | None = None,
    *,
    secret: Manifest | None = None,
    admin: Mapping[str, str] | None = ADMIN,
    random: tuple[str, ...] = RANDOM,
    **more: Any,
) -> ObservedState:
    """Return the observed state: the administrator's Secret, and the created one if it exists."""
    effective = desired or spec()
    values = secret_values(secret) if secret is not None else {}
    references = []
    for each in samples.resolved(effective):
        if each.reference.field == ADMIN_FIELD:
            references.append(
                ResolvedReference(
                    each.reference,
                    exists=admin is not None,
                    values=admin or {},
                    digests={name: secret_hash(UID, value.encode()) for name, value in (admin or {}).items()},
                    secrets=tuple((admin or {}).values()),
                )
            )
            continue
        digests = {key: secret_hash(UID, values[key].encode()) for key in each.reference.keys if key in values}
        references.append(replace(each, exists=secret is not None, digests=digests))
    state = samples.observed(effective, references=tuple(references), **more)
    return replace(state, database=DatabaseInput(secret, random))


def plan(state: ObservedState) -> Plan:
    return make_plan(state, RELEASE)


def planned_secret(planned: Plan) -> Manifest:
    """Return the Secret that a plan writes."""
    assert planned.secret is not None
    return planned.secret


def status(planned: Plan) -> dict[str, Any]:
    return dict(render_status(planned, planned.observed.children))


def jobs(planned: Plan) -> list[Any]:
    return [each for each in planned.apply if each["kind"] == "Job"]


def live_job(rendered: Any, state: str | None = None) -> Any:
    """Return a rendered Job as the API server has it."""
    sample: Any = samples.job(state=state)
    metadata = {**rendered["metadata"], "creationTimestamp": sample["metadata"]["creationTimestamp"]}
    return {**rendered, "metadata": metadata, "status": sample["status"]}


def provisioned(desired: SomaBrainSpec | None = None) -> tuple[Manifest, dict[str, Any]]:
    """Return the Secret and the status once the database is created."""
    started = plan(observed(desired))
    (rendered,) = jobs(started)
    done = plan(
        observed(desired, secret=planned_secret(started), status=status(started), jobs=[live_job(rendered, "Complete")])
    )
    return planned_secret(done), status(done)


def conditions(planned: Plan) -> dict[str, Any]:
    return {each["type"]: each for each in status(planned)["conditions"]}


def test_first_reconcile_writes_secret_and_starts_job() -> None:
    """Passwords and id are new, no connection string is published yet, and no other child is applied."""
    started = plan(observed())
    (job,) = jobs(started)
    stored = parse_provisioned(secret_values(planned_secret(started))["database.json"])
    assert (stored.id, stored.database, stored.owner_password) == (RANDOM[0], "demo_quickstart", RANDOM[1])
    assert [(each.number, each.app_password, each.worker_password) for each in stored.logins] == [
        (1, RANDOM[2], RANDOM[3])
    ]
    assert set(secret_values(planned_secret(started))) == {"database.json"}
    assert "ownerReferences" not in str(planned_secret(started))
    assert is_provisioned_secret(planned_secret(started), OWNER)
    assert job["spec"]["template"]["spec"]["volumes"][1]["secret"]["secretName"] == "admin"
    assert "Deployment" not in [each["kind"] for each in started.apply]
    assert conditions(started)["Provisioned"]["reason"] == "Running"
    assert status(started)["phase"] == "Provisioning"


def test_passwords_appear_only_in_secret() -> None:
    """Jobs, status and conditions contain neither generated passwords nor the administrator's."""
    started = plan(observed())
    shown = json.dumps([*started.apply, status(started)])
    assert not any(each in shown for each in (*RANDOM, "the-admin-password"))
    assert not any(each in repr(started) for each in (*RANDOM[1:4], "the-admin-password"))


def test_connection_strings_are_published_after_job_succeeded() -> None:
    """The Secret gets them with the server's parameters; then the migration runs with the owner, and grants by role."""
    secret, after = provisioned()
    values = secret_values(secret)
    assert values["app-dsn"] == (
        f"postgresql://demo_quickstart_app_1:{RANDOM[2]}@pg.db.svc:5432/demo_quickstart?sslmode=require"
    )
    assert values["owner-dsn"].startswith(f"postgresql://demo_quickstart_owner:{RANDOM[1]}@pg")
    assert conditions_of(after)["Provisioned"]["reason"] == "Publishing"
    going = plan(observed(secret=secret, status=after))
    (migration,) = jobs(going)
    variables = {each["name"]: each["value"] for each in migration["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert variables["SOMABRAIN_DATABASE__APP_ROLE"] == "demo_quickstart_app"
    assert variables["SOMABRAIN_DATABASE__WORKER_ROLE"] == "demo_quickstart_worker"
    assert conditions(going)["Provisioned"]["status"] == "True"
    assert going.secret is None


def conditions_of(current: Mapping[str, Any]) -> dict[str, Any]:
    return {each["type"]: each for each in current["conditions"]}


def serving(secret: Manifest, before: Mapping[str, Any], **more: Any) -> ObservedState:
    """Return the state in which everything is migrated, rolled out and served by one pod."""
    migrating = plan(observed(secret=secret, status=before, **more))
    assert migrating.migration is not None
    migrated = {**status(migrating), **samples.migrated(migrating.migration.hash or "")}
    planned = plan(observed(secret=secret, status=migrated, **more))
    live = {(each["kind"], each["metadata"]["name"]): each for each in planned.apply}  # type: ignore[index, call-overload]
    deployment = live["Deployment", "quickstart-server"]
    return observed(
        secret=secret,
        status=status(planned),
        children=[rolled_out(deployment, 1, 1)],
        pods=[server_pod_with_hash("a", planned.config_hash)],
        **more,
    )


def server_pod_with_hash(name: str, config_hash: str) -> Any:
    live: Any = pod(name)
    return {**live, "metadata": {**live["metadata"], "annotations": {names.CONFIG_HASH: config_hash}}}


def test_rotation_retains_former_login_until_no_pod_uses_it() -> None:
    """The next login is created beside the former one, published and rolled out; only then is the former one dropped.

    Nothing halts meanwhile: the connection strings in force work at each moment.
    """
    secret, after = provisioned()
    state = serving(secret, after)
    assert plan(state).halted_by is None
    children, pods = tuple(state.children.values()), state.pods
    rotate = {names.ROTATE_PASSWORDS: "1"}

    rotating = plan(
        observed(
            secret=secret,
            status=dict(state.brain.status),
            random=MORE_RANDOM,
            annotations=rotate,
            children=children,
            pods=pods,
        )
    )
    assert logins(planned_secret(rotating)) == [1, 2]
    assert secret_values(planned_secret(rotating))["app-dsn"] == secret_values(secret)["app-dsn"]
    (job,) = jobs(rotating)
    assert rotating.halted_by is None
    updating = conditions(rotating)["Provisioned"]
    assert (updating["status"], updating["reason"]) == ("True", "Updating")

    rotated = plan(
        observed(
            secret=planned_secret(rotating),
            status=status(rotating),
            jobs=[live_job(job, "Complete")],
            annotations=rotate,
            children=children,
            pods=pods,
        )
    )
    published = planned_secret(rotated)
    assert "_app_2:" + MORE_RANDOM[2] in secret_values(published)["app-dsn"]
    assert (
        "The former passwords work until every pod has the new ones." in conditions(rotated)["Provisioned"]["message"]
    )

    def later(template: str, *hashes: str, leaving: str = "") -> Plan:
        """Return the plan once the Deployment and its pods have these hashes, and one that is being deleted."""
        live = [server_pod_with_hash(f"pod-{index}", each) for index, each in enumerate(hashes)]
        if leaving:
            ending = server_pod_with_hash("leaving", leaving)
            live.append({**ending, "metadata": {**ending["metadata"], "deletionTimestamp": "2026-01-02T03:04:05Z"}})
        return plan(
            observed(
                secret=published,
                status=status(rotated),
                annotations=rotate,
                pods=live,
                children=[with_template_hash(each, template) for each in children],
            )
        )

    former, newest = plan(state).config_hash, later("x").config_hash
    assert former != newest
    assert later(former, former).secret is None
    assert later(newest, newest, former).secret is None
    assert later(newest, newest, leaving=former).secret is None
    done = later(newest, newest)
    assert logins(planned_secret(done)) == [2]
    assert len([each for each in jobs(done) if "provision" in each["metadata"]["name"]]) == 1


def logins(secret: Manifest) -> list[int]:
    """Return the numbers of the logins that a Secret has."""
    return [each.number for each in parse_provisioned(secret_values(secret)["database.json"]).logins]


def with_template_hash(child: Any, config_hash: str) -> Any:
    """Return a Deployment whose pods get this hash; anything else unchanged."""
    if child["kind"] != "Deployment":
        return child
    template = child["spec"]["template"]
    annotations = {**template["metadata"]["annotations"], names.CONFIG_HASH: config_hash}
    changed = {**template, "metadata": {**template["metadata"], "annotations": annotations}}
    return {**child, "spec": {**child["spec"], "template": changed}}


def test_failed_rotation_is_degraded_and_ready() -> None:
    """The former passwords stay valid, so a failed Job changes only the condition Degraded."""
    secret, after = provisioned()
    state = serving(secret, after)
    children, rotate = tuple(state.children.values()), {names.ROTATE_PASSWORDS: "1"}
    rotating = plan(
        observed(
            secret=secret,
            status=dict(state.brain.status),
            random=MORE_RANDOM,
            annotations=rotate,
            children=children,
            pods=state.pods,
        )
    )
    (job,) = jobs(rotating)
    reported = "PostgreSQL refused: permission denied to create role with the-admin-password"
    failed = plan(
        observed(
            secret=planned_secret(rotating),
            status=status(rotating),
            jobs=[live_job(job, "Failed")],
            annotations=rotate,
            children=children,
            pods=[*state.pods, failed_pod(job, reported)],
        )
    )
    assert failed.halted_by is None
    shown = conditions(failed)
    assert (shown["Provisioned"]["reason"], shown["Degraded"]["reason"]) == ("Failed", "ProvisionFailed")
    assert "permission denied to create role with [redacted]" in shown["Degraded"]["message"]
    assert names.RETRY_PROVISION in shown["Provisioned"]["message"]


def failed_pod(job: Any, message: str) -> Manifest:
    """Return the pod of a Job that failed with a message."""
    return pod(
        "p",
        component="provision",
        ready=False,
        containers=[terminated(message, name="provision")],
        job_name=job["metadata"]["name"],
    )


def test_changed_admin_secret_overrides_backoff() -> None:
    """A failed attempt waits for its back-off, unless the administrator's Secret changed or a retry is requested."""
    started = plan(observed())
    (job,) = jobs(started)
    waiting: dict[str, Any] = {
        "secret": planned_secret(started),
        "status": status(started),
        "jobs": [live_job(job, "Failed")],
    }
    assert jobs(plan(observed(**waiting))) == []
    another = {"uri": ADMIN["uri"].replace("the-admin-password", "another")}
    assert len(jobs(plan(observed(admin=another, **waiting)))) == 1
    assert len(jobs(plan(observed(annotations={names.RETRY_PROVISION: "1"}, **waiting)))) == 1


@pytest.mark.parametrize(
    ("admin", "reason", "message"),
    [
        (None, "NotFound", "is not in namespace demo; create it with uri, or host, username and password, or correct"),
        ({"host": "pg"}, "KeyMissing", "lacks username, password or has it empty; it needs uri, or host, username and"),
    ],
)
def test_missing_admin_secret_is_transient(admin: Mapping[str, str] | None, reason: str, message: str) -> None:
    """Without the Secret or its keys nothing is written, and the condition names what to add."""
    waiting = plan(observed(admin=admin))
    assert (waiting.secret, waiting.apply[3:], waiting.transient) == (None, (), True)
    assert conditions(waiting)["ReferencesResolved"]["reason"] == reason
    reported = conditions(waiting)["ReferencesResolved"]["message"]
    assert f"Secret admin, named by spec.database.provision.adminSecretRef.name, {message}" in reported


def test_admin_secret_is_not_needed_after_provisioning() -> None:
    """Once the database exists, serving does not depend on the administrator's Secret."""
    secret, after = provisioned()
    state = serving(secret, after)
    alone = observed(
        secret=secret,
        admin=None,
        status=dict(state.brain.status),
        children=tuple(state.children.values()),
        pods=state.pods,
    )
    assert plan(alone).halted_by is None
    assert conditions(plan(alone))["Provisioned"]["status"] == "True"


def test_foreign_secret_is_not_overwritten() -> None:
    """A Secret of that name that the operator did not create is not read, written or used."""
    foreign: Manifest = {"metadata": {"name": "quickstart-database", "resourceVersion": "1"}, "data": {}}
    refused = plan(observed(secret=foreign))
    assert refused.secret is None
    assert conditions(refused)["Degraded"]["reason"] == "NameTaken"
    assert (
        "Secret quickstart-database exists and was not made for this resource"
        in (conditions(refused)["Degraded"]["message"])
    )


def test_retained_secret_is_adopted() -> None:
    """A SomaBrain that is applied again uses the existing passwords, after the Job has confirmed them."""
    secret, _ = provisioned()
    again = plan(observed(secret=secret, random=MORE_RANDOM))
    assert (again.secret, len(jobs(again))) == (None, 1)
    assert conditions(again)["Provisioned"]["reason"] == "Running"
    (job,) = jobs(again)
    confirmed = plan(observed(secret=secret, status=status(again), jobs=[live_job(job, "Complete")]))
    assert (confirmed.secret, conditions(confirmed)["Provisioned"]["status"]) == (None, "True")


@pytest.mark.parametrize(
    ("release", "desired", "reason"),
    [
        (samples.RELEASE, spec(), "NotAllowed"),
        (replace(RELEASE, finalizers=False), spec({**PROVISION, "deletionPolicy": "Delete"}), "FinalizerNotAllowed"),
        (RELEASE, spec(version="0.1.0"), "ImageTooOld"),
    ],
)
def test_impossible_provisioning_is_rejected_before_any_write(
    release: Any, desired: SomaBrainSpec, reason: str
) -> None:
    """Missing permissions, permissions within one namespace, and an image without the command are reported."""
    refused = make_plan(observed(desired), release)
    assert (refused.secret, refused.finalizer, jobs(refused)) == (None, False, [])
    assert conditions(refused)["Provisioned"]["reason"] == reason
    assert conditions(refused)["Stalled"]["status"] == "True"


def test_rejected_secret_write_quotes_api_server() -> None:
    """A forbidden write of the Secret is not an attempt, and the condition has the API server's message."""
    started = plan(observed())
    reported = status(without_uncreated_provision_job(started, {}, "secrets is forbidden"))
    assert conditions_of(reported)["Provisioned"]["message"] == "The database could not be made: secrets is forbidden"
    assert "attempt" not in reported["provision"]


def test_finalizer_follows_deletion_policy() -> None:
    """The finalizer follows deletionPolicy; an invalid spec or a missing reference does not change it."""
    assert not plan(observed()).finalizer
    assert plan(observed(spec({**PROVISION, "deletionPolicy": "Delete"}))).finalizer
    bare = samples.observed(samples.spec())
    guarded = replace(bare, brain=replace(bare.brain, finalizers=(names.FINALIZER,)))
    assert not plan(guarded).finalizer  # the spec no longer provisions it
    broken = replace(guarded, brain=replace(guarded.brain, spec=None, problem="x"))
    assert plan(broken).finalizer


def deletion(
    secret: Manifest | None, *, policy: str = "Delete", live: Sequence[Manifest] = (), **more: Any
) -> Deletion:
    desired = spec({**PROVISION, "deletionPolicy": policy})
    return plan_deletion(observed(desired, secret=secret, jobs=live, **more), RELEASE)


def test_drop_job_has_no_owner_and_releases_finalizer() -> None:
    """The Job has no owner; once it succeeded, the Secret is deleted and the finalizer removed."""
    secret, after = provisioned()
    dropping = deletion(secret, status=after)
    (job,) = jobs(dropping.plan)
    assert "ownerReferences" not in job["metadata"]
    assert job["spec"]["template"]["spec"]["containers"][0]["args"][-1] == "--drop"
    assert (dropping.released, dropping.secret) == ("", None)
    shown = render_deletion_status(dropping.plan)
    done = deletion(secret, status=shown, live=[live_job(job, "Complete")])
    assert done.released == "The database demo_quickstart and its roles are dropped."
    assert done.secret == secret


def test_failed_drop_reports_cause_and_retain_annotation() -> None:
    """The condition has the Job's message and the annotation; meanwhile the namespace is probed for deletion."""
    secret, after = provisioned()
    (job,) = jobs(deletion(secret, status=after).plan)
    shown = render_deletion_status(deletion(secret, status=after).plan)
    failed = deletion(secret, status=shown, live=[live_job(job, "Failed")], pods=[failed_pod(job, "no route to host")])
    condition = conditions_of(render_deletion_status(failed.plan))["Provisioned"]
    assert "The database could not be dropped: Attempt 1 failed: no route to host" in condition["message"]
    assert f"kubectl annotate sb quickstart {names.RETAIN_DATABASE}=true" in condition["message"]
    assert failed.probe is not None
    assert failed.plan.requeue_after_s is not None
    assert failed.plan.requeue_after_s <= 10
    retained = deletion(secret, status=shown, annotations={names.RETAIN_DATABASE: "true"})
    assert f"annotation {names.RETAIN_DATABASE}" in retained.released
    assert (retained.secret, jobs(retained.plan)) == (None, [])


def test_database_without_own_secret_is_not_dropped() -> None:
    """Without the Secret, with a foreign one, or with deletionPolicy Retain, only the resource is deleted."""
    secret, after = provisioned()
    foreign: Manifest = {"metadata": {"name": "quickstart-database"}, "data": {}}
    invalid = {**secret, "data": {"database.json": base64.b64encode(b"{}").decode()}}
    for each in (None, foreign, invalid):
        deleted = deletion(each, status=after)
        assert "is not known, and is left" in deleted.released
        assert (deleted.secret, jobs(deleted.plan)) == (None, [])
    assert "no longer says deletionPolicy: Delete" in deletion(secret, policy="Retain", status=after).released


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (Key("demo", "quickstart"), "demo_quickstart"),
        (Key("a-b", "c"), "a-b_c"),
        (Key("a", "b-c"), "a_b-c"),
        (Key("n" * 63, "b" * 40), "n" * 36 + "_"),
    ],
)
def test_database_name_follows_resource_name(key: Key, name: str) -> None:
    """The database has the name of the resource, shortened so that the names of its roles fit."""
    provision = spec().database
    assert provision is not None
    assert provision.provision is not None
    database = database_name(key, provision.provision)
    assert database == name or (database.startswith(name) and len(database) == 45)


def test_cloudnativepg_and_plain_admin_secrets_are_parsed() -> None:
    """A URL takes precedence over parts; the database `*` is the maintenance one; parameters apply to each role."""
    cnpg = {
        "username": "postgres",
        "password": "s3cret",
        "host": "c-rw",
        "port": "5432",
        "dbname": "*",
        "uri": "postgresql://postgres:s3%2Fcret@c-rw.demo:5432/*",
        "pgpass": "x",
    }
    admin = parse_admin(cnpg)
    assert (admin.hosts, admin.user, admin.password, admin.database) == (
        "c-rw.demo:5432",
        "postgres",
        "s3/cret",
        "postgres",
    )
    plain = parse_admin({"host": "::1", "username": "a b", "password": "p@", "sslmode": "require", "dbname": "x"})
    assert plain.dsn(plain.user, plain.password, plain.database) == (
        "postgresql://a%20b:p%40@[::1]:5432/x?sslmode=require"
    )


def test_provisioning_manifests_match_golden_file() -> None:
    """Rendered manifests equal the golden file; `.venv/bin/python tests/golden/regenerate.py` writes it."""
    rendered = provisioning()
    assert rendered == (FOLDER / "provision.yaml").read_text(encoding="utf-8")
    for job in (each for each in yaml.safe_load_all(rendered) if each["kind"] == "Job"):
        template = job["spec"]["template"]["spec"]
        assert template["securityContext"]["runAsNonRoot"] is True
        assert template["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
