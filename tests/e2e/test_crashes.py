"""kill -9 during writes: no acknowledged memory is lost, and the status reported the crash."""

from __future__ import annotations

import asyncio

from examples.kubectl import Kubectl, Object
from somabrain_client import MemoryClient
from tests.e2e.conftest import Measured
from tests.e2e.support.brains import Brain
from tests.e2e.support.chaos import Chaos
from tests.e2e.support.database import INFRA, POD
from tests.e2e.support.faults import operator_pod
from tests.e2e.support.waiting import eventually
from tests.e2e.support.writers import WriteLog, writing

BEFORE, AFTER = 30, 30


def restarts(pods: list[Object]) -> int:
    """Return how often containers were restarted."""
    return sum(status["restartCount"] for pod in pods for status in pod["status"]["containerStatuses"])


def runs_again(pods: list[Object]) -> bool:
    """Return whether a server was restarted and runs."""
    servers = [each for pod in pods for each in pod["status"]["containerStatuses"] if each["name"] == "server"]
    return any(each["restartCount"] and "running" in each["state"] for each in servers)


async def assert_nothing_lost(book: WriteLog, client: MemoryClient, measured: Measured) -> None:
    """Assert that every acknowledged memory can be read, byte for byte."""
    assert len(book.acknowledged) >= BEFORE + AFTER
    assert await book.missing(client, "log") == []
    measured(
        f"{len(book.acknowledged)} acknowledged, 0 lost; the caller saw {len(book.failures)} failures; "
        f"{client.attempts.unavailable} of {client.attempts.attempts} attempts were UNAVAILABLE"
    )


async def test_service_kill_during_writes_loses_no_memory(brain: Brain, chaos: Chaos, measured: Measured) -> None:
    """When the service is killed, Available=False names the pod, and no acknowledged memory is lost.

    It is killed twice: the kubelet restarts it at once after the first time, perhaps before the operator observes it.
    """
    await asyncio.to_thread(brain.apply)
    await brain.ready()
    async with brain.client() as client:
        await client.create_namespace("log")
        async with writing(client, "log") as book:
            await book.wait_for_more(BEFORE)
            (pod,) = await asyncio.to_thread(brain.pods)
            await asyncio.to_thread(chaos.signal, "KILL", pod, "server")
            (pod,) = await eventually(brain.pods, runs_again, "the service was not started again")
            await asyncio.to_thread(chaos.signal, "KILL", pod, "server")
            condition = await brain.until("Available", "False", "exit code 137", timeout_s=20)
            await brain.ready()
            await book.wait_for_more(AFTER)
        await assert_nothing_lost(book, client, measured)
    measured(f"the status said: {condition.message}")
    assert pod["metadata"]["name"] in condition.message


async def test_operator_kill_during_writes_is_invisible(
    brain: Brain, chaos: Chaos, kubectl: Kubectl, measured: Measured
) -> None:
    """When the operator is killed, no call fails, and an edit made meanwhile is applied."""
    await asyncio.to_thread(brain.apply)
    await brain.ready()
    async with brain.client() as client:
        await client.create_namespace("log")
        async with writing(client, "log") as book:
            await book.wait_for_more(BEFORE)
            pod = await asyncio.to_thread(operator_pod, kubectl)
            await asyncio.to_thread(chaos.signal, "KILL", pod, pod["spec"]["containers"][0]["name"])
            await asyncio.to_thread(brain.apply, replicas=2)
            await brain.until("Ready", "True", "2 of 2")
            await book.wait_for_more(AFTER)
        await assert_nothing_lost(book, client, measured)
    assert book.failures == []
    after = await asyncio.to_thread(operator_pod, kubectl)
    assert restarts([after]) == restarts([pod]) + 1


async def test_postgresql_kill_during_writes_loses_no_memory(
    brain: Brain, chaos: Chaos, kubectl: Kubectl, measured: Measured
) -> None:
    """When PostgreSQL is killed, Available=False names pods and cause, and no acknowledged memory is lost."""
    await asyncio.to_thread(brain.apply, replicas=2)
    await brain.until("Ready", "True", "2 of 2")
    scale = ("scale", "statefulset/postgresql", "-n", INFRA)
    async with brain.client() as client:
        await client.create_namespace("log")
        async with writing(client, "log") as book:
            await book.wait_for_more(BEFORE)
            database = await asyncio.to_thread(kubectl.get, INFRA, "pod", POD)
            await asyncio.to_thread(chaos.signal, "KILL", database, "postgresql")
            try:
                await asyncio.to_thread(kubectl, *scale, "--replicas=0")
                condition = await brain.until("Available", "False", "PostgreSQL", timeout_s=40)
                names = [pod["metadata"]["name"] for pod in await asyncio.to_thread(brain.pods)]
                before = restarts(await asyncio.to_thread(brain.pods))
            finally:
                await asyncio.to_thread(kubectl, *scale, "--replicas=1")
            await eventually(
                lambda: kubectl.get(INFRA, "statefulset", "postgresql")["status"].get("readyReplicas", 0),
                lambda ready: ready == 1,
                "PostgreSQL did not come back",
            )
            await brain.until("Ready", "True", "2 of 2")
            await book.wait_for_more(AFTER)
        await assert_nothing_lost(book, client, measured)
        # Readiness is not liveness: a server whose database is gone waits for it.
        assert restarts(await asyncio.to_thread(brain.pods)) == before == 0
    measured(f"the status said: {condition.message}")
    assert all(name in condition.message for name in names)
