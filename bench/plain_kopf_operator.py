"""Minimal kopf operator: handlers of creation, update and resumption that apply everything.

    kopf run --standalone --all-namespaces -m bench.plain_kopf_operator

It is the reference of `make bench-operator`, and does the same work: the same objects, rendered by the same code, the
Deployment after the migration's Job, and a status. It reverts no drift, watches no child, and sets no conditions.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import kopf

from common.config.settings import Settings
from somabrain_operator.app import operator_defaults
from somabrain_operator.kube import names
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.kinds import CHILDREN
from somabrain_operator.kube.names import Key
from somabrain_operator.kube.transport import credentials, open_transport
from somabrain_operator.metrics import Metrics
from somabrain_operator.observe.observe import brain_references
from somabrain_operator.observe.parse import parse_brain
from somabrain_operator.observe.state import ObservedState
from somabrain_operator.plan import make_plan
from somabrain_operator.references.resolver import resolve

WHICH = (names.GROUP, names.VERSION, names.PLURAL)
RETRY_DELAY_S = 1


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: object) -> None:
    """Connect to the API server, with kopf's default settings except that no events are posted, as in ours."""
    settings.posting.enabled = False
    memo.stack = AsyncExitStack()
    opened = await memo.stack.enter_async_context(open_transport(lambda: credentials(settings)))
    memo.cluster = Cluster(opened, Metrics().count_write)


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: object) -> None:
    """Close the connection."""
    await memo.stack.aclose()


@kopf.on.create(*WHICH)
@kopf.on.update(*WHICH)
@kopf.on.resume(*WHICH)
async def reconcile(body: kopf.Body, patch: kopf.Patch, memo: kopf.Memo, **_: Any) -> None:
    """Apply the base objects and the Job, and once that is complete everything else."""
    cluster: Cluster = memo.cluster
    raw: dict[str, Any] = dict(body)
    key = Key(raw["metadata"]["namespace"], raw["metadata"]["name"])
    brain = parse_brain(key, {**raw, "status": {}})
    jobs = await cluster.list(CHILDREN["Job"], key.namespace, {"app.kubernetes.io/instance": key.name})
    observed = ObservedState(
        brain=brain,
        references=await resolve(cluster, key, brain.uid, brain_references(brain)),
        children={},
        jobs=jobs,
        pods=(),
        reports={},
        now=datetime.now(UTC),
    )
    plan = make_plan(observed, operator_defaults(Settings().operator))
    for manifest in plan.apply:
        await cluster.apply(manifest)
    if plan.deployment is None:
        why = plan.halted_by.message if plan.halted_by else ""
        raise kopf.TemporaryError(why, delay=RETRY_DELAY_S)
    patch.status["phase"] = "RollingOut"
    patch.status["observedGeneration"] = brain.generation


@kopf.on.login()
def log_in(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo | None:
    """Return the credentials of the operator's own requests."""
    return credentials(settings)
