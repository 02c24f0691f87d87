"""Faults in random order: nothing acknowledged is lost, and no false statement of the status lasts long.

make chaos SEED=1
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

import pytest

from examples.kubectl import Kubectl
from tests.e2e.conftest import Measured
from tests.e2e.support.brains import Brain
from tests.e2e.support.chaos import Chaos
from tests.e2e.support.faults import OPERATOR, SHORT, Faults
from tests.e2e.support.watcher import watched
from tests.e2e.support.writers import reading, writing

WHOLE_S = 480


@pytest.mark.timeout(WHOLE_S)
async def test_random_faults_lose_no_memory_and_no_status_stays_false(
    brain: Brain, own_database: str, chaos: Chaos, kubectl: Kubectl, measured: Measured, request: pytest.FixtureRequest
) -> None:
    """A client sees no failure throughout all faults; after each of them the newest spec is Ready again."""
    seed, whole = request.config.getoption("chaos_seed"), request.config.getoption("chaos_whole")
    faults = Faults(brain, chaos, kubectl)
    say = partial(print, flush=True) if whole else measured  # whole, it is watched while it runs
    if whole:
        # A container that was killed before is started late, and a pod is new each time.
        await asyncio.to_thread(kubectl, "rollout", "restart", "deployment/somabrain-operator", "-n", OPERATOR)
        await asyncio.to_thread(kubectl, "rollout", "status", "deployment/somabrain-operator", "-n", OPERATOR)
    await faults.prepare()
    await brain.ready()
    async with brain.client() as client:
        await client.create_namespace("log")
        async with writing(client, "log") as book, reading(client, "log", book):
            await book.wait_for_more(10)
            async with watched(brain) as lives:
                for name in faults.order(seed, None if whole else SHORT):
                    began, written = time.monotonic(), len(book.acknowledged)
                    await faults.by_name()[name]()
                    undone = time.monotonic()
                    await brain.ready()
                    now = time.monotonic()
                    say(
                        f"{name:<26} {undone - began:5.1f} s, Ready again after {now - undone:4.1f} s; "
                        f"{len(book.acknowledged) - written:4} writes meanwhile"
                    )
            await book.wait_for_more(10)
        missing = await book.missing(client, "log")
    say(
        f"seed {seed}: {len(book.acknowledged)} writes acknowledged, {len(missing)} of them lost; {book.reads} reads; "
        f"{len(book.failures)} calls failed"
    )
    for line in ("statements that were not so, by how long they lived:", *lives.histogram()):
        say(line)
    assert missing == []
    assert book.failures == []
    assert lives.failures() == []
