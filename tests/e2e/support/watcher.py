"""Observes a SomaBrain and its children five times a second while a block runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from httpx2 import HTTPError
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.client import Client
from lightkube.core.exceptions import ApiError

from examples.kubectl import Object
from somabrain_operator.kube.objects import condition, text
from tests.e2e.support.brains import Brain
from tests.e2e.support.status_checks import ClusterState, StatementLifetimes, false_statements
from tests.integration.operator.api import KINDS

POLL_INTERVAL_S = 0.2


@asynccontextmanager
async def watched(brain: Brain) -> AsyncIterator[StatementLifetimes]:
    """Record how long each statement of the status was false."""
    lifetimes, over = StatementLifetimes(), asyncio.Event()
    config = KubeConfig.from_file(brain.kubectl.kubeconfig).get()

    async def watch() -> None:
        with Client(config, trust_env=False) as client:
            while not over.is_set():
                try:
                    world = await asyncio.to_thread(read_state, client, brain)
                except (ApiError, HTTPError):
                    lifetimes.pause()
                else:
                    lifetimes.observe(set(false_statements(world)), time.monotonic())
                await asyncio.sleep(POLL_INTERVAL_S)

    task = asyncio.create_task(watch())
    try:
        yield lifetimes
    finally:
        over.set()
        await task


def read_state(client: Client, brain: Brain) -> ClusterState:
    """Read the children first and the status last, so that the status is never older than they are."""

    def all_of(kind: str) -> list[Object]:
        return [dict(each) for each in client.list(KINDS[kind], namespace=brain.namespace)]

    deployments = {each["metadata"]["name"]: each for each in all_of("Deployment")}
    failed = [each for each in all_of("Job") if text(condition(each, "Failed"), "status") == "True"]
    secrets = all_of("Secret")
    return ClusterState(
        dict(client.get(KINDS["SomaBrain"], brain.name, namespace=brain.namespace)),
        deployments.get(f"{brain.name}-server"),
        frozenset(each["metadata"]["name"] for each in failed),
        frozenset(each["metadata"]["name"] for each in secrets),
    )
