"""kopf's decorators and nothing else: every event becomes a key.

Only `on.event`: kopf keeps no state of its own on the resources, writes nothing and adds no finalizer.
"""

from __future__ import annotations

from typing import Any, Final, cast

import kopf

from somabrain_operator import names
from somabrain_operator.app import Intake
from somabrain_operator.cluster.kinds import LEASE, WATCHED
from somabrain_operator.tree import Json, Manifest

CHILD_LABEL: Final = f"app.kubernetes.io/managed-by={names.MANAGER}"


@kopf.on.event(names.GROUP, names.VERSION, names.PLURAL)
async def brain_seen(event: kopf.RawEvent, memo: kopf.Memo, **_: object) -> None:
    """Take an event of a SomaBrain."""
    _intake(memo).seen(names.KIND, event["type"], cast("Manifest", event["object"]))


@kopf.on.event(LEASE.group, LEASE.version, LEASE.plural)
async def lease_seen(event: kopf.RawEvent, memo: kopf.Memo, **_: object) -> None:
    """Take an event of the Lease."""
    _intake(memo).lease_seen(event["type"], cast("Json", event["object"]))


async def child_seen(*, event: kopf.RawEvent, memo: kopf.Memo, param: Any = None, **_: object) -> None:
    """Take an event of a child of the kind `param`."""
    _intake(memo).seen(param, event["type"], cast("Manifest", event["object"]))


for _kind in WATCHED.values():
    kopf.on.event(_kind.group, _kind.version, _kind.plural, id=f"{_kind.plural}-seen", param=_kind.kind)(child_seen)


def _intake(memo: kopf.Memo) -> Intake:
    return cast("Intake", memo.intake)
