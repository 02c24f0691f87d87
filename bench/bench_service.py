"""Recall and Remember beside a handler that does nothing and beside raw SQL, all in one run.

    make bench

The absolute figures belong to this machine and this minute; the ratios and the CPU of the server a call are what to
compare. Client, server and PostgreSQL share the processors, as they do in the reference's run.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import numpy as np
from google.protobuf.empty_pb2 import Empty

from bench.raw_sql import raw_inserts
from bench.server import Server, somabrain, trivial
from bench.trivial_server import METHOD
from common.config.settings import DatabaseSettings
from somabrain_client import MemoryClient
from somabrain_service.embedded import embedded_database
from somabrain_service.migrate import migrate

NAMESPACE = "bench"
DIMENSIONS = 384
AT_ONCE = 8
WORDS = 20_000


@dataclass(frozen=True)
class Figures:
    """What a run of calls cost."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float

    def line(self, name: str) -> str:
        return f"{name:<42}{self.rate:>9.0f}/s{self.p50_ms:>9.2f} ms{self.p99_ms:>9.2f} ms" + (
            f"{self.cpu_ms:>9.2f} ms" if self.cpu_ms else f"{'':>9}   "
        )


async def run(calls: int, call: Callable[[int], Awaitable[object]], server: Server | None) -> Figures:
    """Make `calls` calls, some at once."""
    numbers = iter(range(calls))
    took: list[float] = []

    async def worker() -> None:
        for number in numbers:
            started = time.perf_counter()
            await call(number)
            took.append(time.perf_counter() - started)

    cpu_s = server.cpu_s() if server else 0.0
    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(worker())
    elapsed = time.perf_counter() - started
    cpu_s = (server.cpu_s() - cpu_s) if server else 0.0
    cuts = statistics.quantiles(took, n=100)
    return Figures(calls / elapsed, cuts[49] * 1e3, cuts[98] * 1e3, cpu_s / calls * 1e3)


def texts(count: int, length: int, seed: int) -> Iterator[str]:
    """Texts of made-up words whose frequencies fall as in natural language (Zipf 1935)."""
    drawn = random.Random(seed)
    words = [f"{drawn.choice('bcdfgklmnprst')}{drawn.choice('aeiou')}{number:x}" for number in range(WORDS)]
    weights = [1 / rank for rank in range(1, WORDS + 1)]
    for _ in range(count):
        yield " ".join(drawn.choices(words, weights, k=length))


def vectors(count: int, seed: int) -> list[list[float]]:
    drawn = np.random.default_rng(seed).standard_normal((count, DIMENSIONS), dtype=np.float32)
    rows: list[list[float]] = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).tolist()
    return rows


async def measure_trivial(calls: int) -> Figures:
    with trivial() as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            method: grpc.aio.UnaryUnaryMultiCallable[Empty, Empty] = channel.unary_unary(
                METHOD, request_serializer=Empty.SerializeToString, response_deserializer=Empty.FromString
            )
            await run(200, lambda _: method(Empty()), server)
            return await run(calls, lambda _: method(Empty()), server)


async def measure_service(server: Server, memories: int, calls: int) -> tuple[Figures, Figures, Figures]:
    """Remember with the caller's vectors, Recall with words and vector, Recall with words that the server encodes."""
    async with MemoryClient(server.address, deadline_s=60) as client:
        await client.create_namespace(NAMESPACE)
        kept, made = list(texts(memories, 30, 1)), vectors(memories, 2)
        asked, wanted = list(texts(calls, 6, 3)), vectors(calls, 4)
        say(f"Remember, {memories} times")
        remember = await run(memories, lambda n: client.remember(NAMESPACE, kept[n], vector=made[n]), server)
        say(f"Recall, {calls} times, twice")
        for n in range(20):
            await client.recall(NAMESPACE, asked[n])
        given = await run(calls, lambda n: client.recall(NAMESPACE, asked[n], vector=wanted[n]), server)
        encoded = await run(calls, lambda n: client.recall(NAMESPACE, asked[n]), server)
    return remember, given, encoded


def say(sentence: str) -> None:
    print(f"  {sentence}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--memories", type=int, default=2_000, help="memories in the namespace (default: 2000)")
    parser.add_argument("--calls", type=int, default=1_000, help="Recalls of each kind (default: 1000)")
    options = parser.parse_args()
    say("the handler that does nothing, 5000 times")
    nothing = asyncio.run(measure_trivial(5_000))
    with (
        tempfile.TemporaryDirectory(prefix="somabrain-bench-") as folder,
        embedded_database(Path(folder) / "data", DatabaseSettings()) as database,
    ):
        migrate(database.owner_dsn, database.database, lambda _: None)
        settings = {
            "postgres_dsn": database.app_dsn,
            "grpc__host": "127.0.0.1",
            "auth__mode": "none",
            "policy__enabled": "false",
        }
        with somabrain(["serve"], settings) as server:
            remember, given, encoded = asyncio.run(measure_service(server, options.memories, options.calls))
        say("the same rows as raw SQL")
        raw = asyncio.run(raw_inserts(database.dsn("postgres"), AT_ONCE, run))
    title = f"{options.memories} memories, {AT_ONCE} calls at once"
    print(f"{title:<42}{'rate':>11}{'p50':>12}{'p99':>12}{'server CPU':>12}")
    print(nothing.line("a grpc.aio handler that does nothing"))
    print(given.line("Recall, words and vector"))
    print(encoded.line("Recall, words that the server encodes"))
    print(remember.line("Remember, durable, caller's vector"))
    print(raw.line("raw SQL: the same rows, one commit each"))
    print()
    print(f"Recall, words and vector   {given.rate / nothing.rate:>6.1%} of the rate of doing nothing")
    print(f"Recall, encoded            {encoded.rate / nothing.rate:>6.1%} of the rate of doing nothing")
    print(f"Remember                   {remember.rate / raw.rate:>6.1%} of the rate of raw SQL")


if __name__ == "__main__":
    main()
