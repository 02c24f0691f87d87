"""Operations by kubectl: hibernate, edit, scale, wait, pause."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from operator import eq

from examples.kubectl import Object
from tests.e2e.support.brains import Brain
from tests.e2e.support.waiting import eventually

HISTORY_LIMIT = 3
"""Earlier templates that can be gone back to."""
EDITS = HISTORY_LIMIT + 2


def templates(brain: Brain) -> list[Object]:
    """Return each ReplicaSet that still exists."""
    ours = ("-l", f"app.kubernetes.io/instance={brain.name}")
    return list(brain.kubectl.get(brain.namespace, "replicasets", *ours)["items"])


def revision(brain: Brain) -> int:
    return int(brain.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"])


async def test_hibernated_resource_is_edited_and_woken_by_kubectl(brain: Brain) -> None:
    """Edits while hibernated start no pod and leave a bounded history; `kubectl scale` starts it again.

    Neither changed resources nor more replicas start another migration.
    """
    await asyncio.to_thread(brain.apply, replicas=0)
    await brain.until("Available", "False", "spec.replicas is 0: nothing serves; the memories are kept.")
    assert (await brain.until("Ready", "True", "nothing serves")).reason == "Hibernated"
    jobs = ("jobs", "-o", "name")
    migrated = await asyncio.to_thread(brain.kubectl, "get", *jobs, "-n", brain.namespace)
    for edit in range(EDITS):
        before = await asyncio.to_thread(revision, brain)
        await asyncio.to_thread(brain.apply, replicas=0, resources={"limits": {"memory": f"{900 + edit}Mi"}})
        await eventually(partial(revision, brain), partial(eq, before + 1), "no new template", every_s=0.1)
    await eventually(lambda: templates(brain), lambda current: len(current) == HISTORY_LIMIT + 1, "old templates stay")
    assert await asyncio.to_thread(brain.pods) == []
    of = ("sb", brain.name, "-n", brain.namespace)
    await asyncio.to_thread(brain.kubectl, "scale", *of, "--replicas=1")
    await asyncio.to_thread(brain.kubectl, "wait", *of, "--for=condition=Ready", "--timeout=90s", timeout_s=100)
    assert len(await asyncio.to_thread(brain.pods)) == 1
    assert await asyncio.to_thread(brain.kubectl, "get", *jobs, "-n", brain.namespace) == migrated
    async with brain.client() as client:
        await client.create_namespace("awake")


async def test_paused_resource_keeps_edit_until_resumed(served: Brain) -> None:
    """A manual edit stays while `spec.paused` is true, the status reports it, and then it is reverted."""
    await asyncio.to_thread(served.apply, paused=True)
    await served.until("Paused", "True")
    name, patch = f"{served.name}-server", json.dumps({"spec": {"revisionHistoryLimit": 7}})
    await asyncio.to_thread(served.kubectl, "patch", "deployment", name, "-n", served.namespace, "-p", patch)
    await served.until("Progressing", "False", "nothing is changed while it is paused")
    assert (await asyncio.to_thread(served.deployment))["spec"]["revisionHistoryLimit"] == 7
    await asyncio.to_thread(served.apply)
    await eventually(
        lambda: served.deployment()["spec"]["revisionHistoryLimit"],
        lambda now: now == HISTORY_LIMIT,
        "it is not put right",
    )
    await served.until("Paused", "False")
    await served.ready()
