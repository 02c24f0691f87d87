"""kopf's decorators and nothing else: every event becomes a key.

Only `on.event`: kopf keeps no state of its own on the resources, writes nothing and adds no finalizer.
"""

from __future__ import annotations

from typing import Final, cast

import kopf

from somabrain_operator import names
from somabrain_operator.app import Intake
from somabrain_operator.tree import Json

CHILD_KINDS: Final = (
    ("apps", "v1", "deployments"),
    ("batch", "v1", "jobs"),
    ("", "v1", "pods"),
    ("", "v1", "services"),
    ("", "v1", "serviceaccounts"),
    ("", "v1", "configmaps"),
    ("policy", "v1", "poddisruptionbudgets"),
    ("autoscaling", "v2", "horizontalpodautoscalers"),
    ("networking.k8s.io", "v1", "networkpolicies"),
)
LEASE_KIND: Final = ("coordination.k8s.io", "v1", "leases")
CHILD_LABEL: Final = f"app.kubernetes.io/managed-by={names.MANAGER}"


@kopf.on.event(names.GROUP, names.VERSION, names.PLURAL)
async def brain_seen(event: kopf.RawEvent, memo: kopf.Memo, **_: object) -> None:
    """Take an event of a SomaBrain."""
    _intake(memo).brain_seen(event["type"], cast("Json", event["object"]))


@kopf.on.event(*LEASE_KIND)
async def lease_seen(event: kopf.RawEvent, memo: kopf.Memo, **_: object) -> None:
    """Take an event of the Lease."""
    _intake(memo).lease_seen(event["type"], cast("Json", event["object"]))


async def child_seen(event: kopf.RawEvent, memo: kopf.Memo, **_: object) -> None:
    """Take an event of a child."""
    _intake(memo).child_seen(event["type"], cast("Json", event["object"]))


for _group, _version, _plural in CHILD_KINDS:
    kopf.on.event(_group, _version, _plural, id=f"{_plural}-seen")(child_seen)


def _intake(memo: kopf.Memo) -> Intake:
    return cast("Intake", memo.intake)
