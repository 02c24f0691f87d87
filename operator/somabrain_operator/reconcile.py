"""One SomaBrain, brought to what it says: observe -> plan -> apply -> status.

Level-based: it starts from what is there, never from what happened, so it may run at any time and as often as one
likes; when nothing is to be done it writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from common.errors import FailedPrecondition, NotFound, PermissionDenied, SomaBrainError, Unavailable
from somabrain_operator import names
from somabrain_operator.cache import Cache
from somabrain_operator.cluster.api import Cluster
from somabrain_operator.cluster.observe import observe, read_brain, unseen
from somabrain_operator.cluster.optional import OptionalKinds
from somabrain_operator.cluster.probe import ReadinessProbe
from somabrain_operator.diff.foreign import drift, removal_patch
from somabrain_operator.metrics import ConditionMetrics
from somabrain_operator.names import ChildId, Key, child_id
from somabrain_operator.observed import Release
from somabrain_operator.plan import Plan, make_plan
from somabrain_operator.plan.migration import without_uncreated_job
from somabrain_operator.queue import GONE
from somabrain_operator.redact import redact
from somabrain_operator.references import ReferenceWatch
from somabrain_operator.render.metadata import Owner, rendered_hash
from somabrain_operator.status import render_status
from somabrain_operator.status.transitions import Transition, transitions
from somabrain_operator.tree import Manifest, text

_log = structlog.stdlib.get_logger("somabrain_operator.reconcile")


@dataclass(frozen=True, slots=True)
class Reconciler:
    """The one function of the operator, with what it needs."""

    cluster: Cluster
    optional: OptionalKinds
    probe: ReadinessProbe
    release: Release
    references: ReferenceWatch
    cache: Cache
    conditions: ConditionMetrics

    async def reconcile(self, key: Key) -> float | None:
        """Bring a SomaBrain to what it says.

        Returns:
            After how many seconds time alone changes something; None: not before the resync; GONE: it is not there.

        Raises:
            SomaBrainError: something could not be read or written; the status says so where it could be written.
        """
        observed = await observe(self.cluster, self.cache, self.probe, key, self.optional.lacking)
        if observed is None or observed.brain.deleting:
            self.references.forget(key)
            self.conditions.forget(key)
            return GONE
        self.references.remember(observed)
        plan = make_plan(observed, self.release)
        if taken := await unseen(self.cluster, plan):
            plan = make_plan(replace(observed, children={**observed.children, **taken}), self.release)
        children, refusal = await self._apply(plan)
        why = redact(refusal.message) if refusal else ""
        if refusal is not None:
            plan = without_uncreated_job(plan, children, why)
        status, edited = render_status(plan, children, why), False
        if status != observed.brain.status:
            try:
                answer = await self.cluster.write_status(key, observed.brain.uid, status)
            except NotFound:
                return GONE  # it was deleted meanwhile
            self.cache.wrote(names.KIND, answer)
            edited = not read_brain(key, answer).asks_as(observed.brain)
            for each in transitions(observed.brain.status, status):
                await self._tell(plan.owner, each)
        self.conditions.keep(key, status)
        if refusal is not None:
            raise refusal
        return 0.0 if edited else plan.requeue_after_s  # an edit that came in between may have no event of its own

    async def _apply(self, plan: Plan) -> tuple[dict[ChildId, Manifest], SomaBrainError | None]:
        """Do what the plan asks, in its order; return the children as they are then, and what failed, if anything did.

        Raises:
            SomaBrainError: what says nothing of the resource: a race that was lost, or a server that is busy.
        """
        children = dict(plan.observed.children)
        try:
            for manifest in plan.apply:
                identity = child_id(manifest)
                children[identity] = await self._put(plan.owner, manifest, children.get(identity))
            for identity in plan.delete:
                await self.cluster.delete(plan.owner.key.namespace, identity)
                children.pop(identity, None)
        except (FailedPrecondition, NotFound, PermissionDenied, Unavailable) as exc:
            return children, exc  # Unavailable too: so the API server answers while an admission webhook is down
        return children, None

    async def _put(self, owner: Owner, manifest: Manifest, live: Manifest | None) -> Manifest:
        """Make a child as rendered, with no more writes than it takes."""
        if live is None:
            return self._written(await self.cluster.apply(manifest))
        found = drift(manifest, live)
        unchanged = rendered_hash(manifest) == rendered_hash(live)
        if unchanged and not found:
            return live
        if unchanged:
            await self._tell_drift(owner, child_id(manifest), str(found[0]))
        if any(each.kind == "foreign" for each in found):
            live = self._written(await self.cluster.remove(live, removal_patch(manifest, live, found)))
            if unchanged and not drift(manifest, live):
                return live
        return self._written(await self.cluster.apply(manifest))

    async def _tell_drift(self, owner: Owner, child: ChildId, first: str) -> None:
        """Say what somebody changed by hand."""
        _log.info("drift put back", kind=child.kind, namespace=owner.key.namespace, name=child.name, first=first)
        message = f"{child.kind} {child.name} is put back: {first}."
        await self._tell(owner, Transition("DriftPutBack", message, warning=False))

    async def _tell(self, owner: Owner, what: Transition) -> None:
        """Record an event. That it cannot be recorded keeps nothing else from being done."""
        try:
            await self.cluster.announce(owner, what.reason, what.message, warning=what.warning)
        except SomaBrainError as exc:
            _log.warning("event not recorded", namespace=owner.key.namespace, name=owner.key.name, error=exc.message)

    def _written(self, answer: Manifest) -> Manifest:
        self.cache.wrote(text(answer, "kind"), answer)
        return answer
