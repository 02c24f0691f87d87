"""kopf event handlers, and nothing else: every event becomes a key.

Only `on.event`: kopf stores no state on the resources, writes nothing and adds no finalizer.
"""

from __future__ import annotations

from typing import Any, Final, cast

import kopf

from somabrain_operator.app import Operator
from somabrain_operator.kube import names
from somabrain_operator.kube.kinds import LEASE, WATCHED
from somabrain_operator.kube.objects import Json, Manifest

CHILD_LABEL: Final = f"app.kubernetes.io/managed-by={names.MANAGER}"


@kopf.on.event(names.GROUP, names.VERSION, names.PLURAL)
async def on_brain_event(event: kopf.RawEvent, memo: kopf.Memo, **_: object) -> None:
    """Handle an event of a SomaBrain."""
    operator = _operator(memo)
    operator.store.on_watch_event(names.KIND, event["type"], cast("Manifest", event["object"]), operator.queue.add)


@kopf.on.event(LEASE.group, LEASE.version, LEASE.plural)
async def on_lease_event(event: kopf.RawEvent, memo: kopf.Memo, **_: object) -> None:
    """Handle an event of the Lease."""
    _operator(memo).elector.on_lease_event(event["type"], cast("Json", event["object"]))


async def on_child_event(*, event: kopf.RawEvent, memo: kopf.Memo, param: Any = None, **_: object) -> None:
    """Handle an event of a child of the kind `param`."""
    operator = _operator(memo)
    operator.store.on_watch_event(param, event["type"], cast("Manifest", event["object"]), operator.queue.add)


for _kind in WATCHED.values():
    kopf.on.event(_kind.group, _kind.version, _kind.plural, id=_kind.plural, param=_kind.kind)(on_child_event)


def _operator(memo: kopf.Memo) -> Operator:
    return cast("Operator", memo.operator)
