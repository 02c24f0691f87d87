"""Concurrent callers that write, recall and try to bypass authentication, and the outcome of each call."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from somabrain_client import CallError, MemoryClient, RetryPolicy
from somabrain_client.errors import PermissionDeniedError, UnauthenticatedError, UnavailableError

NAMESPACE = "resilience"
ONCE = RetryPolicy(max_attempts=1)
DEADLINE_S = 4.0
PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Outcome:
    """One call without retries: `status` is OK or the name of its error code; times are of one monotonic clock."""

    method: str
    began_s: float
    duration_s: float
    status: str


@dataclass
class Load:
    """The callers, and the outcomes of their calls."""

    outcomes: list[Outcome] = field(default_factory=list)
    acknowledged: dict[str, str] = field(default_factory=dict)
    """Texts that were acknowledged, with their memories' names."""
    auth_bypasses: list[str] = field(default_factory=list)
    """Calls without a valid token that were answered as if there were one."""

    def between(self, method: str, since_s: float, until_s: float) -> list[Outcome]:
        """Calls of a method that began in an interval."""
        return [call for call in self.outcomes if call.method == method and since_s <= call.began_s < until_s]

    async def run(self, address: str, token: Callable[[], str], stranger: str, stop: asyncio.Event) -> None:
        """Run two callers that write, two that recall and one with a forged token, until `stop` is set."""
        async with (
            MemoryClient(address, token=token, retry=ONCE, deadline_s=DEADLINE_S) as trusted,
            MemoryClient(address, token=stranger, retry=ONCE, deadline_s=DEADLINE_S) as untrusted,
            asyncio.TaskGroup() as callers,
        ):
            for number in range(2):
                callers.create_task(self._write(trusted, number, stop))
                callers.create_task(self._recall(trusted, stop))
            callers.create_task(self._call_without_token(untrusted, stop))

    async def _write(self, client: MemoryClient, number: int, stop: asyncio.Event) -> None:
        for count in itertools.takewhile(lambda _: not stop.is_set(), itertools.count()):
            text = f"Caller {number} wrote sentence {count}."
            began_s = time.monotonic()
            status = "OK"
            try:
                self.acknowledged[text] = (await client.remember(NAMESPACE, text)).name
            except CallError as error:
                status = error.code.name
            await self._record("Remember", began_s, status)

    async def _recall(self, client: MemoryClient, stop: asyncio.Event) -> None:
        while not stop.is_set():
            began_s = time.monotonic()
            status = "OK"
            try:
                await client.recall(NAMESPACE, "Which sentence did caller 1 write?", top_k=3)
            except CallError as error:
                status = error.code.name
            await self._record("Recall", began_s, status)

    async def _call_without_token(self, client: MemoryClient, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await client.recall(NAMESPACE, "Let me in.")
            except (UnauthenticatedError, PermissionDeniedError, UnavailableError):
                pass
            except CallError as error:
                self.auth_bypasses.append(f"{error.code.name}: {error.message}")
            else:
                self.auth_bypasses.append("OK")
            await asyncio.sleep(10 * PAUSE_S)

    async def _record(self, method: str, began_s: float, status: str) -> None:
        self.outcomes.append(Outcome(method, began_s, time.monotonic() - began_s, status))
        await asyncio.sleep(PAUSE_S)


def summary(calls: Iterable[Outcome]) -> str:
    """Summarize calls: how many ended with each status, and how long they took."""
    outcomes = list(calls)
    if not outcomes:
        return "no call ended"
    durations_ms = sorted(1000 * call.duration_s for call in outcomes)
    statuses = Counter(call.status for call in outcomes)
    ok = statuses.pop("OK", 0)
    others = "".join(f", {count} {status}" for status, count in statuses.most_common())
    return f"{ok} OK{others}; p50 {durations_ms[len(durations_ms) // 2]:.0f} ms, worst {durations_ms[-1]:.0f} ms"
