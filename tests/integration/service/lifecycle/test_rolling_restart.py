"""A rolling restart under load behind one name, as with a Deployment and a headless Service."""

from __future__ import annotations

import asyncio
import itertools
import signal
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from devcluster.loopback import Dns, dns
from devcluster.loopback.server_process import free_ports
from somabrain_client import CallError, MemoryClient
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess, service

NAME = "brain-headless.test"
REPLICAS = 3
WORKERS = 8
LAG_S = 0.5
"""Delay after which the name servers learn that a pod stops."""


@pytest.fixture
def names() -> Iterator[Dns]:
    with dns() as running:
        yield running


class Pods:
    """Replicas behind one name, each on a new address."""

    def __init__(self, names: Dns, folder: Path, settings: dict[str, object]) -> None:
        (self.port,) = free_ports(1)
        self.serving: dict[str, ServiceProcess] = {}
        self._names = names
        self._dns_lock = threading.Lock()
        self._folder = folder
        self._settings = {**settings, "grpc__port": self.port, "grpc__shutdown_delay_s": 1}
        self._addresses = (f"127.0.0.{last}" for last in itertools.count(2))
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Pods:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @property
    def target(self) -> str:
        return f"dns://{self._names.address}/{NAME}:{self.port}"

    def start(self) -> ServiceProcess:
        """Start another replica, and add it to the name once it is ready."""
        address = next(self._addresses)
        own = self._folder / address
        own.mkdir()
        running = self._stack.enter_context(service(own, {**self._settings, "grpc__host": address}))
        running.wait_until_ready()
        # Several start at once: who writes last must know of all.
        with self._dns_lock:
            self.serving[address] = running
            self._names.answer(NAME, list(self.serving))
        return running

    async def stop(self, address: str) -> int:
        """Stop a replica, remove it from the name a little later, and return its exit code."""
        running = self.serving.pop(address)
        running.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(LAG_S)
        self._names.answer(NAME, list(self.serving))
        return await asyncio.to_thread(running.process.wait, 30)


@dataclass
class Load:
    """Continuous writes and reads, and their results."""

    client: MemoryClient
    acknowledged: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def work(self, worker: int) -> None:
        for number in itertools.count():
            if self.over.is_set():
                return
            text = f"Note {number} of worker {worker}."
            try:
                await self.client.remember("rolling", text)
                self.acknowledged.append(text)
                await self.client.recall("rolling", text, top_k=1)
            except CallError as exc:
                self.failures.append(f"{exc.code.name}: {exc.message}")


def handled(running: ServiceProcess) -> float:
    """Return the number of calls that a replica has answered with OK."""
    lines = running.get("/metrics")[1].splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith("grpc_server_handled_total{") and "OK" in line
    )


@pytest.mark.timeout(300)
async def test_rolling_restart_under_load_fails_no_call_and_loses_no_write(
    names: Dns, folder: Path, settings: dict[str, object], idp: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    """No call fails while each replica is replaced, one after the other, and connections reach their maximum age."""
    # As the operator sets it, but so short that it happens many times.
    aging = {**settings, "grpc__max_connection_age_s": 2}
    async with Pods(names, folder, aging) as pods:
        await asyncio.gather(*(asyncio.to_thread(pods.start) for _ in range(REPLICAS)))
        async with MemoryClient(pods.target, token=idp.token("rolling")) as client:
            await client.create_namespace("rolling")
            load = Load(client)
            async with asyncio.TaskGroup() as tasks:
                for worker in range(WORKERS):
                    tasks.create_task(load.work(worker))
                codes = []
                for address in list(pods.serving):
                    await asyncio.to_thread(pods.start)
                    codes.append(await pods.stop(address))
                load.over.set()
            stored = [memory.text async for memory in client.list("rolling")]
            shares = {address: handled(running) for address, running in pods.serving.items()}
            counts = client.attempts
        with capsys.disabled():
            print(
                f"\nrolling restart of {REPLICAS} replicas: {counts.calls} calls, {len(load.failures)} failed; "
                f"{counts.attempts} attempts, {counts.unavailable} of them UNAVAILABLE; shares {shares}"
            )
    assert load.failures == []
    assert codes == [0] * REPLICAS
    assert sorted(stored) == sorted(load.acknowledged), "a write was lost, or kept twice"
    assert min(shares.values()) > 0, "a new replica got nothing to do"
