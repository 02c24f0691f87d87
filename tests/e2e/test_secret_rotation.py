"""A changed Secret rolls the pods once if they use the changed key, without a failed call."""

from __future__ import annotations

import asyncio
from base64 import b64encode

from tests.e2e.conftest import Measured
from tests.e2e.support.brains import DATABASE, Brain
from tests.e2e.support.waiting import eventually
from tests.e2e.support.writers import writing

SETTINGS = "more-settings"
REFERENCE_POLL_S = 8
"""Longer than the operator takes to look at so few references again."""


def put(brain: Brain, name: str, key: str, value: str) -> None:
    """Set one key of a Secret without changing the others."""
    secret = brain.kubectl.find(brain.namespace, "secret", name) or {"data": {}}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    brain.kubectl.apply(
        brain.namespace, {**manifest, "data": {**secret["data"], key: b64encode(value.encode()).decode()}}
    )


def revision(brain: Brain) -> int:
    """Return the Deployment's revision."""
    return int(brain.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"])


async def test_rotated_secret_rolls_pods_once_and_only_for_used_keys(brain: Brain, measured: Measured) -> None:
    """An unused key rolls no pods, and a setting rolls them once, without a failed write."""
    await asyncio.to_thread(put, brain, SETTINGS, "SOMABRAIN_TRACE__SAMPLE_RATIO", "0.1")
    await asyncio.to_thread(brain.apply, secretRefs=[{"name": SETTINGS}])
    await brain.ready()
    before = await asyncio.to_thread(revision, brain)
    async with brain.client() as client:
        await client.create_namespace("log")
        async with writing(client, "log") as book:
            await asyncio.to_thread(put, brain, DATABASE, "note", "nothing uses this")
            await asyncio.sleep(REFERENCE_POLL_S)
            assert await asyncio.to_thread(revision, brain) == before
            (old,) = await asyncio.to_thread(brain.pods)
            await asyncio.to_thread(put, brain, SETTINGS, "SOMABRAIN_TRACE__SAMPLE_RATIO", "0.2")
            await eventually(lambda: revision(brain), lambda now: now > before, "the pods were not rolled")
            await brain.ready()
            name = old["metadata"]["name"]
            await eventually(
                lambda: [pod["metadata"]["name"] for pod in brain.pods()],
                lambda names: len(names) == 1 and name not in names,
                "the old pod stayed",
            )
            await book.wait_for_more(20)
        assert await book.missing(client, "log") == []
        assert book.failures == []
    assert await asyncio.to_thread(revision, brain) == before + 1
    measured(f"{len(book.acknowledged)} writes through a rotation, none failed, none missing")
