"""Each dependency is killed, slowed and restored under load; `make resilience` runs it for longer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from somabrain_client import MemoryClient
from tests.integration.resilience.load import NAMESPACE, Load, summary
from tests.integration.resilience.platform import IDENTITY_LIFE_S, POLICY_LIFE_S, TOPIC, Dependency, Platform, platform
from tests.integration.resilience.report import Row, Totals, page
from tests.integration.service.kafka_events import read_events
from tests.integration.service.service_process import ServiceProcess, service

SLOW_S = 5.0
RECOVERY_S = 60.0
CALM_S = 1.0
"""The service has recovered when no call has failed for this long."""


@dataclass
class Run:
    """The faults one after the other, and the outcome of each."""

    load: Load
    phase_s: float
    rows: list[Row]
    wrongly_admitted: list[str]

    async def inject_faults(self, dependency: Dependency) -> None:
        """Kill the dependency and restart it; then slow it down and restore its speed."""

        async def slow() -> None:
            dependency.proxy.delay_s = SLOW_S

        async def quick() -> None:
            dependency.proxy.delay_s = 0.0

        await self._phase(dependency, "down", dependency.stop, dependency.start)
        await self._phase(dependency, "slow", slow, quick)

    async def _phase(
        self,
        dependency: Dependency,
        fault: str,
        begin: Callable[[], Awaitable[None]],
        end: Callable[[], Awaitable[None]],
    ) -> None:
        await begin()
        since_s = time.monotonic()
        await asyncio.sleep(self.phase_s)
        until_s = time.monotonic()
        await end()
        recovery_s = await self._wait_until_recovered(time.monotonic())
        for method in ("Remember", "Recall"):
            calls = self.load.between(method, since_s, until_s)
            self.rows.append(Row(dependency.name, fault, method, f"{summary(calls)}; back after {recovery_s:.1f} s"))
            if dependency.max_answer_age_s is not None:
                late = self.load.between(method, since_s + dependency.max_answer_age_s, until_s)
                admitted = [call for call in late if call.status == "OK"]
                self.wrongly_admitted += [f"{dependency.name} {fault}: {method}" for _ in admitted]

    async def _wait_until_recovered(self, since_s: float) -> float:
        """Wait until every call succeeds again, and return how long that took."""
        while (now_s := time.monotonic()) < since_s + RECOVERY_S:
            await asyncio.sleep(0.1)
            calls = [call for call in self.load.outcomes if call.began_s >= since_s]
            failed = [call.began_s for call in calls if call.status != "OK"]
            quiet_since_s = max([since_s, *failed])
            answered = {call.method for call in calls if call.began_s > quiet_since_s}
            if now_s > quiet_since_s + CALM_S and answered == {"Remember", "Recall"}:
                return quiet_since_s - since_s
        pytest.fail(f"Not every call is answered {RECOVERY_S:g} s after the fault's end: {self.rows[-1:]}")


async def published_memories(stack: Platform, names: set[str]) -> set[str]:
    """The memories that events name, once the relay has published all of `names` or a timeout has passed."""
    ends_at = time.monotonic() + RECOVERY_S
    while True:
        events = await asyncio.to_thread(read_events, stack.events.bootstrap, TOPIC)
        published = {str(event["data"].get("memory")) for event in events}
        if names <= published or time.monotonic() > ends_at:
            return published
        await asyncio.sleep(1)


@pytest.mark.timeout(1800)
async def test_dependency_faults_lose_no_write_or_event_and_skip_no_auth(
    own_folder: Path, pytestconfig: pytest.Config
) -> None:
    """Whichever dependency is down or slow, no write and no event is lost, and no call is wrongly admitted.

    Callers get an answer or a clear status, and every call is answered again afterwards.
    """
    phase_s: float = pytestconfig.getoption("--fault-s")
    report: Path | None = pytestconfig.getoption("--resilience-report")
    folder = own_folder / "resilience"
    folder.mkdir()
    async with platform(folder) as stack:
        with ExitStack() as processes:
            brain: ServiceProcess = await asyncio.to_thread(processes.enter_context, service(folder, stack.settings))
            await asyncio.to_thread(brain.wait_until_ready)
            token = await asyncio.to_thread(stack.identity.token, "a-admin")
            stranger = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
            async with MemoryClient(brain.address, token=token) as client:
                await client.create_namespace(NAMESPACE)
            run, stop = Run(Load(), phase_s, [], []), asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(run.load.run(brain.address, lambda: token, stranger, stop))
                await asyncio.sleep(phase_s)
                for dependency in stack.dependencies:
                    # A token lives for five minutes, which is less than the run takes on a busy machine.
                    token = await asyncio.to_thread(stack.identity.token, "a-admin")
                    await run.inject_faults(dependency)
                stop.set()
            async with MemoryClient(brain.address, token=token) as client:
                stored = {memory.name async for memory in client.list(NAMESPACE, page_size=1000)}
            assert brain.process.poll() is None
            acknowledged = set(run.load.acknowledged.values())
            events = await published_memories(stack, acknowledged)
    totals = Totals(
        acknowledged=len(acknowledged),
        events=len(events),
        lost_writes=len(acknowledged - stored),
        lost_events=len(acknowledged - events),
        auth_bypasses=len(run.load.auth_bypasses) + len(run.wrongly_admitted),
    )
    lines = list(page(run.rows, totals, identity_s=IDENTITY_LIFE_S, policy_s=POLICY_LIFE_S, phase_s=phase_s))
    print("\n".join(lines))
    if report is not None:
        await asyncio.to_thread(report.write_text, "\n".join(lines) + "\n")
    assert (run.load.auth_bypasses, run.wrongly_admitted) == ([], [])
    assert (totals.lost_writes, totals.lost_events) == (0, 0)
    assert totals.acknowledged > 50
