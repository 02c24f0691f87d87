"""Load generator for concurrent calls, with latencies and processor times."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields, replace

CONCURRENCY = 8

Clock = Callable[[], float]


@dataclass(frozen=True)
class Figures:
    """Measurements of a run: calls per second, latencies, and processor time per call."""

    rate: float
    p50_ms: float
    p99_ms: float
    server_ms: float
    postgres_ms: float

    def of(self, items: int) -> Figures:
        """Return the figures per item, for calls with `items` items each; latencies stay those of a call."""
        return replace(
            self, rate=self.rate * items, server_ms=self.server_ms / items, postgres_ms=self.postgres_ms / items
        )

    def line(self, name: str) -> str:
        spent = f"{self.server_ms:>11.2f} ms{self.postgres_ms:>11.2f} ms"
        return f"{name:<52}{self.rate:>9.0f}/s{self.p50_ms:>9.2f} ms{self.p99_ms:>9.2f} ms{spent}"


def median(rounds: Sequence[Figures]) -> Figures:
    """Return the median of each figure over the rounds."""
    return Figures(*(statistics.median(getattr(figures, name.name) for figures in rounds) for name in fields(Figures)))


HEADER = f"{'rate':>11}{'p50':>12}{'p99':>12}{'server CPU':>14}{'PostgreSQL':>14}"


def no_clock() -> float:
    """Return 0 as the processor time of a process that is not involved."""
    return 0.0


@dataclass(frozen=True)
class LoadGenerator:
    """Runs calls, `concurrency` at a time, and reads the processor times of server and PostgreSQL."""

    server: Clock = no_clock
    postgres: Clock = no_clock
    concurrency: int = CONCURRENCY

    async def run(self, calls: int, call: Callable[[int], Awaitable[object]]) -> Figures:
        """Run `call` with each number below `calls`, and return the figures."""
        numbers = iter(range(calls))
        durations_s: list[float] = []

        async def worker() -> None:
            for number in numbers:
                started = time.perf_counter()
                await call(number)
                durations_s.append(time.perf_counter() - started)

        server_s, postgres_s, started = self.server(), self.postgres(), time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self.concurrency):
                tasks.create_task(worker())
        elapsed = time.perf_counter() - started
        server_s, postgres_s = self.server() - server_s, self.postgres() - postgres_s
        cuts = statistics.quantiles(durations_s, n=100)
        return Figures(
            calls / elapsed, cuts[49] * 1e3, cuts[98] * 1e3, server_s / calls * 1e3, postgres_s / calls * 1e3
        )
