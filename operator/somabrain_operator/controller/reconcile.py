"""Reconcile one SomaBrain: observe -> plan -> apply -> status.

Level-based: it starts from the observed state, never from events, so it may run at any time and any number of times;
if nothing has to change it writes nothing.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from common.errors import FailedPrecondition, NotFound, PermissionDenied, SomaBrainError, Unavailable
from somabrain_operator.controller.workqueue import NO_REQUEUE
from somabrain_operator.diff.foreign import has_foreign_owner
from somabrain_operator.diff.put_back import needs_patch, put_back_patch, release_patch
from somabrain_operator.informer.optional_kinds import OptionalKinds
from somabrain_operator.informer.served_crd import ServedCrd
from somabrain_operator.informer.store import ObjectStore
from somabrain_operator.kube import names
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.errors import NamespaceTerminating
from somabrain_operator.kube.kinds import SECRET
from somabrain_operator.kube.names import ChildId, Key, child_id
from somabrain_operator.kube.objects import Json, Manifest, items, text
from somabrain_operator.kube.owner import Owner
from somabrain_operator.metrics import ConditionMetrics
from somabrain_operator.observe.budgets import BudgetLister
from somabrain_operator.observe.observe import observe
from somabrain_operator.observe.parse import parse_brain
from somabrain_operator.observe.readiness_probe import ReadinessProbe
from somabrain_operator.observe.redact import redact
from somabrain_operator.observe.state import OperatorDefaults
from somabrain_operator.plan import Plan, make_plan
from somabrain_operator.plan.deletion import Deletion, plan_deletion
from somabrain_operator.plan.drift import reverted_drift
from somabrain_operator.plan.migration import without_uncreated_job
from somabrain_operator.plan.provision import without_uncreated_provision_job
from somabrain_operator.references.tracked import TrackedReferences
from somabrain_operator.render.metadata import rendered_hash
from somabrain_operator.status import render_deletion_status, render_status
from somabrain_operator.status.stall import stalls_after_s
from somabrain_operator.status.transitions import Transition, transitions

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciler:
    """The reconcile function with its dependencies."""

    cluster: Cluster
    optional_kinds: OptionalKinds
    probe: ReadinessProbe
    budgets: BudgetLister
    defaults: OperatorDefaults
    tracked: TrackedReferences
    store: ObjectStore
    conditions: ConditionMetrics
    crd: ServedCrd

    async def reconcile(self, key: Key) -> float | None:
        """Reconcile a SomaBrain.

        Returns:
            Seconds until the next reconcile; None: at the resync; NO_REQUEUE: the resource does not exist.

        Raises:
            SomaBrainError: something could not be read or written; the status reports it if it could be written.
        """
        observed = await observe(
            self.cluster, self.store, self.probe, self.budgets, self.tracked, key, self.optional_kinds.missing_kinds
        )
        if observed is not None and observed.brain.deleting and names.FINALIZER in observed.brain.finalizers:
            self.tracked.track(key, observed.brain.uid, observed.references)
            return await self._finalize(plan_deletion(observed, self.defaults))
        if observed is None or observed.brain.deleting:
            self.tracked.untrack(key)
            self.conditions.remove(key)
            return NO_REQUEUE
        self.tracked.track(key, observed.brain.uid, observed.references)
        plan, children, refusal = await self._apply(make_plan(observed, self.defaults))
        refusal_message = redact(refusal.message) if refusal else ""
        if refusal is not None:
            plan = without_uncreated_provision_job(
                without_uncreated_job(plan, children, refusal_message), children, refusal_message
            )
        rendered, edited = render_status(plan, children, refusal_message), False
        status = self.crd.declared_status(rendered)
        if status != observed.brain.status:
            identity = {"namespace": key.namespace, "name": key.name, "uid": observed.brain.uid}
            body: Manifest = {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "metadata": identity,
                "status": status,
            }
            try:
                answer = await self.cluster.apply(body, "status")  # the uid: never to another resource of this name
            except NotFound:
                return NO_REQUEUE  # it was deleted in between
            self.store.on_write(names.KIND, answer)
            edited = not parse_brain(key, answer).same_request_as(observed.brain)
            for each in transitions(observed.brain.status, status):
                await self._record_event(plan.owner, each)
        self.conditions.update(key, status)
        if refusal is not None:
            raise refusal
        if edited:
            return 0.0  # an edit in between may have no separate event
        delays_s = (plan.requeue_after_s, stalls_after_s(plan, rendered))
        return min((each for each in delays_s if each is not None), default=None)

    async def _apply(self, plan: Plan) -> tuple[Plan, dict[ChildId, Manifest], SomaBrainError | None]:
        """Apply the plan in its order, after a check that the names of children to create are free.

        Returns:
            The applied plan, which is another one if a name is taken; the resulting children; and the error that
            stopped it, or None.

        Raises:
            SomaBrainError: an error that is not about the resource: a conflict, or an API server that throttles.
        """
        children = dict(plan.observed.children)
        try:
            await self._prepare_database(plan)
            plan = replace(plan, secret=None)
            # Only objects with our label are watched. All are read before the first write: it records the whole plan.
            to_create = [each for each in map(child_id, plan.apply) if each not in children and each.kind != "Job"]
            if existing := await self.cluster.get_children(plan.owner.key.namespace, to_create):
                children |= existing
                plan = replace(make_plan(replace(plan.observed, children=dict(children)), self.defaults), secret=None)
            for manifest in plan.apply:
                identity = child_id(manifest)
                children[identity] = await self._apply_child(plan, manifest, children.get(identity))
            for identity in plan.delete:
                await self.cluster.delete(plan.owner.key.namespace, identity)
                children.pop(identity, None)
        except (FailedPrecondition, NotFound, PermissionDenied, Unavailable) as exc:
            return plan, children, exc  # Unavailable too: returned by the API server while an admission webhook is down
        return plan, children, None

    async def _prepare_database(self, plan: Plan) -> None:
        """Write what must be there before a database is made: the finalizer that drops it, and the Secret."""
        if not plan.paused and plan.finalizer is not (names.FINALIZER in plan.observed.brain.finalizers):
            await self._set_finalizer(plan.owner, present=plan.finalizer)
        if plan.secret is not None:
            await self.cluster.create_or_replace(SECRET, plan.secret)

    async def _set_finalizer(self, owner: Owner, *, present: bool) -> None:
        """Add or remove the finalizer, and leave those of others."""
        live = self.store.get(names.KIND, *owner.key)
        if live is None or text(live, "metadata", "uid") != owner.uid:
            return
        others = [each for each in items(live, "metadata", "finalizers") if each != names.FINALIZER]
        value: list[Json] = [*others, names.FINALIZER] if present else others
        patch: list[Json] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": text(live, "metadata", "resourceVersion")},
            {"op": "add", "path": "/metadata/finalizers", "value": value},
        ]
        self._record_write(await self.cluster.patch_version(live, patch))

    async def _finalize(self, deletion: Deletion) -> float | None:
        """Drop the database of a SomaBrain that is being deleted, and remove its finalizer when that is done.

        Raises:
            SomaBrainError: something could not be written, for another reason than that the namespace is being deleted.
        """
        plan, released = deletion.plan, deletion.released
        namespace, name = plan.owner.key
        try:
            for manifest in plan.apply:
                self._record_write(await self.cluster.apply(manifest))
            if deletion.probe is not None:
                await self.cluster.apply(deletion.probe, dry_run=True)
        except NamespaceTerminating as exc:
            released = f"Its namespace is being deleted, and no Job can drop its database, which is left: {exc.message}"
        if not released:
            return await self._wait_for_drop(plan)
        if deletion.secret is not None:
            secret_name, uid = (text(deletion.secret, "metadata", field) for field in ("name", "uid"))
            await self.cluster.delete_secret(namespace, secret_name, uid)
        with suppress(NotFound):  # it is deleted
            await self._set_finalizer(plan.owner, present=False)
        _log.info("finalizer removed", namespace=namespace, name=name, why=released)
        self.tracked.untrack(plan.owner.key)
        self.conditions.remove(plan.owner.key)
        return NO_REQUEUE

    async def _wait_for_drop(self, plan: Plan) -> float | None:
        """Write how far the dropping of the database is."""
        status = self.crd.declared_status(render_deletion_status(plan))
        before = plan.observed.brain.status
        if status != before:
            identity = {"namespace": plan.owner.key.namespace, "name": plan.owner.key.name, "uid": plan.owner.uid}
            body: Manifest = {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "metadata": identity,
                "status": status,
            }
            try:
                self._record_write(await self.cluster.apply(body, "status"))
            except NotFound:
                return NO_REQUEUE
        return plan.requeue_after_s

    async def _apply_child(self, plan: Plan, manifest: Manifest, live: Manifest | None) -> Manifest:
        """Bring a child to its rendered manifest with as few writes as possible; return the live object."""
        if live is None:
            return self._record_write(await self.cluster.apply(manifest))
        differences = reverted_drift(plan, manifest, live)
        unchanged = rendered_hash(manifest) == rendered_hash(live)
        if unchanged and not differences:
            return live
        if needs_patch(differences):
            live = self._record_write(
                await self.cluster.patch_version(live, put_back_patch(manifest, live, differences))
            )
        if not unchanged or not needs_patch(differences) or reverted_drift(plan, manifest, live):
            live = self._record_write(await self.cluster.apply(manifest))
        if has_foreign_owner(manifest, live):  # the values are ours, and an owner is left over
            live = self._record_write(await self.cluster.patch_version(live, release_patch(manifest, live)))
        if unchanged and not reverted_drift(plan, manifest, live):
            await self._record_drift(plan.owner, child_id(manifest), str(differences[0]))
        return live

    async def _record_drift(self, owner: Owner, child: ChildId, first: str) -> None:
        """Log the drift of a child that was put back and record an event of it."""
        _log.info("drift reverted", kind=child.kind, namespace=owner.key.namespace, name=child.name, first=first)
        message = f"{child.kind} {child.name} is put back: {first}."
        await self._record_event(owner, Transition("DriftPutBack", message, warning=False))

    async def _record_event(self, owner: Owner, transition: Transition) -> None:
        """Record an event. A failure is only logged and does not stop the reconcile."""
        try:
            await self.cluster.record_event(owner, transition.reason, transition.message, warning=transition.warning)
        except SomaBrainError as exc:
            _log.warning(
                "failed to record event", namespace=owner.key.namespace, name=owner.key.name, error=exc.message
            )

    def _record_write(self, answer: Manifest) -> Manifest:
        self.store.on_write(text(answer, "kind"), answer)
        return answer
