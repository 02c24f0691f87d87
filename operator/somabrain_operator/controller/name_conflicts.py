"""Reading of live objects that have the names of planned children without being watched."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.kinds import CHILDREN
from somabrain_operator.kube.names import ChildId, child_id
from somabrain_operator.kube.objects import Manifest
from somabrain_operator.plan import Plan


async def read_name_conflicts(cluster: Cluster, plan: Plan) -> Mapping[ChildId, Manifest]:
    """Return unwatched live objects under the names of children to apply: only those with our label are watched."""
    identities = [child_id(each) for each in plan.apply]
    unwatched = [each for each in identities if each not in plan.observed.children and each.kind != "Job"]
    namespace = plan.owner.key.namespace
    manifests = await asyncio.gather(*(cluster.get(CHILDREN[each.kind], namespace, each.name) for each in unwatched))
    return {
        identity: {"kind": identity.kind, **live}
        for identity, live in zip(unwatched, manifests, strict=True)
        if live is not None
    }
