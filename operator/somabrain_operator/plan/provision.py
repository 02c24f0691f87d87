"""Step that has the database of `spec.database.provision` made, and its passwords rotated.

The Secret NAME-database holds the database as it must be and the connection strings in force. A Job makes it so; then
the connection strings of the newest login are published, which rolls the pods. After a rotation the former login stays
until no pod has it any more, so that no call fails, and another Job drops it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from pydantic import ValidationError

from common.errors import ConfigurationError
from common.provisioning import AdminLogin, Login, ProvisionedDatabase, parse_admin
from somabrain_operator.api.v1alpha1.database import Provision
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.api.v1alpha1.status import MigrationStatus, ProvisionStatus
from somabrain_operator.kube import names
from somabrain_operator.kube.children import DATABASE
from somabrain_operator.kube.hashing import content_hash, secret_hash
from somabrain_operator.kube.names import SERVER, ChildId, child_id
from somabrain_operator.kube.objects import Manifest, mapping, number, text
from somabrain_operator.observe.pod_status import is_terminated
from somabrain_operator.observe.state import DatabaseInput
from somabrain_operator.plan.job_attempts import Task, attempt_name, run_job
from somabrain_operator.plan.ownership import NAME_CHECK_INTERVAL_S
from somabrain_operator.plan.plan import ConditionResult, Plan, halt, with_condition
from somabrain_operator.plan.references import describe_missing
from somabrain_operator.references.catalog import ADMIN_FIELD, DATABASE_FIELD
from somabrain_operator.references.resolved import ResolvedReference
from somabrain_operator.render.provision import (
    database_name,
    is_provisioned_secret,
    provisioned_secret_values,
    render_provision_job,
    render_provisioned_secret,
    secret_values,
    stored_database,
)
from somabrain_operator.render.setting_names import is_older_than_0_2

_NO_RIGHTS: Final = (
    "spec.database.provision needs rights that this operator does not have: to write Secrets and, for deletionPolicy "
    "Delete, finalizers; set provision.enabled to true in the values of its chart, or use spec.database.secretRef."
)
_NO_FINALIZERS: Final = (
    "spec.database.provision.deletionPolicy: Delete needs an operator that watches all namespaces: one with "
    "watchNamespaces loses its rights in a namespace before the SomaBrains in it are deleted, and its finalizer would "
    "stay; set it to Retain."
)
_TOO_OLD: Final = (
    "spec.database.provision needs an image of 0.2 or later, whose command provision makes the database; "
    "set spec.version, or use spec.database.secretRef."
)


@dataclass(frozen=True, slots=True)
class _Making:
    """The database of one SomaBrain: as it must be, and what the Secret has."""

    provision: Provision
    desired: ProvisionedDatabase
    live: Manifest | None
    """The live Secret."""
    values: Mapping[str, str]
    """Its contents."""
    admin_digest: str

    @property
    def published(self) -> dict[str, str]:
        """The connection strings in force; empty until there are any."""
        return {name: value for name, value in self.values.items() if name.endswith("-dsn")}


def provision_database(plan: Plan, spec: SomaBrainSpec) -> Plan:
    """Pass if spec.database has no provision, or its database is made; else halt, unless a former login still works."""
    provision = spec.database.provision if spec.database else None
    given = plan.observed.database
    if provision is None or given is None:
        return replace(plan, finalizer=False)
    if refusal := _refusal(plan, provision):
        return halt(plan, "Provisioned", refusal)
    plan = replace(plan, finalizer=provision.deletion_policy == "Delete")
    prepared = _prepare(plan, provision, given)
    if isinstance(prepared, Plan):
        return prepared
    return _make(plan, spec, prepared)


def parse_provision_status(status: Manifest) -> ProvisionStatus:
    """Return the record of the status; an empty one if it is missing or invalid: making it again does no harm."""
    try:
        return ProvisionStatus.model_validate(mapping(status, "provision"))
    except ValidationError:
        return ProvisionStatus()


def without_uncreated_provision_job(plan: Plan, children: Mapping[ChildId, Manifest], refusal: str) -> Plan:
    """Return the plan after the API server refused a write: a Job that was not created does not count as an attempt."""
    jobs = [each for each in plan.apply if text(each, "kind") == "Job" and child_id(each) not in children]
    if plan.secret is None and not any(text(job, "metadata", "annotations", names.PROVISION_HASH) for job in jobs):
        return plan
    result = ConditionResult("False", "ApplyRefused", f"The database could not be made: {refusal}")
    record = parse_provision_status(plan.observed.brain.status)
    halted = replace(with_condition(plan, "Provisioned", result), provision=record)
    return replace(halted, halted_by=result, failed=True, transient=True)


def admin_reference(plan: Plan) -> ResolvedReference | None:
    """Return the administrator's Secret as it was read."""
    return next((each for each in plan.observed.references if each.reference.field == ADMIN_FIELD), None)


def _refusal(plan: Plan, provision: Provision) -> ConditionResult | None:
    if not plan.release.provisions:
        return ConditionResult("False", "NotAllowed", _NO_RIGHTS)
    if provision.deletion_policy == "Delete" and not plan.release.finalizers:
        return ConditionResult("False", "FinalizerNotAllowed", _NO_FINALIZERS)
    if is_older_than_0_2(plan.image):
        return ConditionResult("False", "ImageTooOld", _TOO_OLD)
    return None


def _prepare(plan: Plan, provision: Provision, given: DatabaseInput) -> _Making | Plan:
    """Return what must be made, or the halted plan if that is unknown."""
    owner, secret = plan.owner, plan.owner.child(DATABASE)
    if given.secret is not None and not is_provisioned_secret(given.secret, owner):
        message = (
            f"Secret {secret} exists and was not made for this resource; delete or rename it, give this resource "
            "another name, or use it by spec.database.secretRef."
        )
        halted = halt(plan, "Degraded", ConditionResult("True", "NameTaken", message))
        return replace(halted, requeue_after_s=NAME_CHECK_INTERVAL_S)
    reference = admin_reference(plan)
    admin, problem = _parse_admin(plan, reference)
    name = database_name(owner.key, provision)
    values = secret_values(given.secret) if given.secret is not None else {}
    if given.secret is None:
        if admin is None:
            return problem
        stored = _new_database(plan, given, name, admin)
    else:
        try:
            stored = stored_database(values)
        except ConfigurationError as exc:
            message = f"Secret {secret} {exc.message}; restore it. Its passwords are nowhere else."
            return halt(plan, "Provisioned", ConditionResult("False", "SecretInvalid", message))
    if stored.database != name:
        message = (
            f"Secret {secret} is of the database {stored.database}, and spec.database.provision says {name}; set "
            f"spec.database.provision.database to {stored.database}, or delete the Secret to begin with an empty one."
        )
        return halt(plan, "Provisioned", ConditionResult("False", "AnotherDatabase", message))
    desired = _desired(plan, stored, admin, given)
    digests = reference.digests if reference is not None else {}
    making = _Making(provision, desired, given.secret, values, content_hash(dict(digests))[:8])
    if admin is None and not _is_provisioned(plan, making):
        return problem
    return making


def _parse_admin(plan: Plan, reference: ResolvedReference | None) -> tuple[AdminLogin | None, Plan]:
    """Return the administrator's login; None: it cannot be used, and the halted plan gives the reason."""
    if reference is None or not reference.exists:
        message = describe_missing(reference, plan.owner.key.namespace) if reference is not None else ""
        reason = "NotAllowed" if reference is not None and reference.refusal else "NotFound"
        return None, halt(plan, "ReferencesResolved", ConditionResult("False", reason, message), transient=True)
    try:
        return parse_admin(reference.values), plan
    except ConfigurationError as exc:
        message = f"Secret {reference.reference.name}, named by {ADMIN_FIELD}.name, {exc.message}."
        return None, halt(plan, "ReferencesResolved", ConditionResult("False", "KeyMissing", message), transient=True)


def _new_database(plan: Plan, given: DatabaseInput, name: str, admin: AdminLogin) -> ProvisionedDatabase:
    mark, owner, *login = given.random
    return ProvisionedDatabase(
        id=mark,
        resource=f"{plan.owner.key.namespace}/{plan.owner.key.name}",
        database=name,
        address=admin.address,
        owner_password=owner,
        logins=(Login(number=1, app_password=login[0], worker_password=login[1]),),
        rotation=_rotation(plan),
    )


def _rotation(plan: Plan) -> str:
    return plan.observed.brain.annotations.get(names.ROTATE_PASSWORDS, "")[:256]


def _desired(
    plan: Plan, stored: ProvisionedDatabase, admin: AdminLogin | None, given: DatabaseInput
) -> ProvisionedDatabase:
    """Return the database as it must be now: a requested rotation begins, or one that reached all pods ends."""
    if admin is not None:
        stored = stored.model_copy(update={"address": admin.address})
    newest = stored.logins[-1]
    if len(stored.logins) > 1:
        return stored.model_copy(update={"logins": (newest,)}) if _reached_all_pods(plan, stored) else stored
    if (token := _rotation(plan)) and token != stored.rotation:
        _, owner, app, worker, *_ = given.random
        login = Login(number=newest.number + 1, app_password=app, worker_password=worker)
        return stored.model_copy(update={"owner_password": owner, "logins": (newest, login), "rotation": token})
    return stored


def _reached_all_pods(plan: Plan, stored: ProvisionedDatabase) -> bool:
    """Return whether every pod of a server, also one that is being deleted, started with the newest login."""
    newest = secret_hash(plan.owner.uid, stored.dsns()["app-dsn"].encode())
    published = next((each.digests for each in plan.observed.references if each.reference.field == DATABASE_FIELD), {})
    if published.get("app-dsn") != newest:
        return False
    live = plan.observed.children.get(ChildId("Deployment", plan.owner.child(SERVER)))
    template = text(live, "spec", "template", "metadata", "annotations", names.CONFIG_HASH)
    observed = number(live, "status", "observedGeneration") >= number(live, "metadata", "generation")
    if live is not None and (template != plan.config_hash or not observed):
        return False
    return all(
        text(pod, "metadata", "annotations", names.CONFIG_HASH) == plan.config_hash
        for pod in plan.observed.pods
        if mapping(pod, "metadata", "labels").get("app.kubernetes.io/component") == SERVER and not is_terminated(pod)
    )


def _fingerprint(plan: Plan, desired: ProvisionedDatabase) -> str:
    """Return the hash of what a Job must make; a new value of the annotation makes it again."""
    retry = plan.observed.brain.annotations.get(names.RETRY_PROVISION, "")[:256]
    return content_hash([desired.model_dump(mode="json"), retry])


def _is_provisioned(plan: Plan, making: _Making) -> bool:
    record = parse_provision_status(plan.observed.brain.status)
    return record.hash == _fingerprint(plan, making.desired) and record.completed_at is not None


def _make(plan: Plan, spec: SomaBrainSpec, making: _Making) -> Plan:
    """Have the Job run, and publish the connection strings once it has succeeded."""
    desired, fingerprint = making.desired, _fingerprint(plan, making.desired)
    stored = parse_provision_status(plan.observed.brain.status)
    same = stored.hash == fingerprint
    fresh = ProvisionStatus(hash=fingerprint, retry_token=stored.retry_token, login=stored.login)
    record = (stored if same else fresh).model_copy(update={"database": desired.database})
    made = run_job(
        plan,
        provision_task(
            plan,
            spec,
            making.provision,
            desired,
            record,
            admin_digest=making.admin_digest,
            fingerprint=fingerprint,
        ),
    )
    works = making.published.keys() >= desired.dsns().keys() and any(
        record.login == login.number for login in desired.logins
    )
    if made.halted_by is None:
        dsns = desired.dsns()
        made = replace(made, provision=_with_login(made.provision, desired.logins[-1].number))
    else:
        dsns = making.published
        made = _go_on(made) if works else made
    values = provisioned_secret_values(desired, dsns)
    if values == making.values:
        return made
    written = replace(made, secret=render_provisioned_secret(plan.owner, making.live, values))
    if written.halted_by is None and not works:
        result = ConditionResult("False", "Publishing", "The connection strings are being written to the Secret.")
        written = replace(with_condition(written, "Provisioned", result), halted_by=result)
    return replace(written, requeue_after_s=0.0) if dsns == desired.dsns() else written


def _with_login(record: MigrationStatus | None, login: int) -> ProvisionStatus | None:
    return record.model_copy(update={"login": login}) if isinstance(record, ProvisionStatus) else None


def _go_on(halted: Plan) -> Plan:
    """Return a halted plan that is progressing: the current connection strings work while others are made."""
    result = halted.conditions["Provisioned"]
    failure = result.message if halted.failed else ""
    if not failure:
        message = f"{result.message} The connection strings in force work meanwhile."
        halted = with_condition(halted, "Provisioned", ConditionResult("True", "Updating", message))
    return replace(halted, halted_by=None, failed=False, transient=False, database_failure=failure)


def provision_task(
    plan: Plan,
    spec: SomaBrainSpec,
    provision: Provision,
    desired: ProvisionedDatabase,
    record: ProvisionStatus,
    *,
    admin_digest: str,
    fingerprint: str,
) -> Task:
    """Return the Job that makes the database."""
    retry = plan.observed.brain.annotations.get(names.RETRY_PROVISION, "")[:256]

    def job_name(attempt: int) -> str:
        return attempt_name(plan.owner.child(names.PROVISION), fingerprint, attempt)

    def render(attempt: int) -> Manifest:
        return render_provision_job(
            plan.owner, spec, provision, image=plan.image, name=job_name(attempt), fingerprint=fingerprint
        )

    def store(stored: Plan, updated: MigrationStatus, result: ConditionResult) -> Plan:
        kept = updated if isinstance(updated, ProvisionStatus) else None
        return replace(with_condition(stored, "Provisioned", result), provision=kept)

    rotating = " The former passwords work until every pod has the new ones." if len(desired.logins) > 1 else ""
    return Task(
        container=names.PROVISION,
        annotation=names.PROVISION_HASH,
        fingerprint=fingerprint,
        record=record,
        retry_annotation=names.RETRY_PROVISION,
        retry_token=f"{retry}/{admin_digest}",
        activity=f"is making the database {desired.database} and its roles",
        subject="The database has not been made",
        resources="spec.scheduling",
        succeeded=f"The database {desired.database} and its roles are as they must be; their connection strings are in "
        f"Secret {plan.owner.child(DATABASE)}.{rotating}",
        job_name=job_name,
        render=render,
        store=store,
    )
