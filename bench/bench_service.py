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
from dataclasses import dataclass, replace
from pathlib import Path

import grpc.aio
import numpy as np
import psycopg
from google.protobuf.empty_pb2 import Empty

from bench.raw_sql import raw_inserts
from bench.server import postgres_cpu_s, somabrain, trivial
from bench.trivial_server import METHOD
from common.config.settings import DatabaseSettings
from somabrain_client import Answer, CallError, Draft, MemoryClient
from somabrain_local.loopback import redis
from somabrain_service.embedded import EmbeddedDatabase, embedded_database
from somabrain_service.migrate import migrate

NAMESPACE = "bench"
BATCHED = "batched"
BATCH = 500
BATCHES = 40
BATCHES_AT_ONCE = 2
DIMENSIONS = 384
AT_ONCE = 8
WORDS = 20_000


Clock = Callable[[], float]


@dataclass(frozen=True)
class Figures:
    """What a run of calls cost."""

    rate: float
    p50_ms: float
    p99_ms: float
    server_ms: float
    postgres_ms: float

    def of(self, items: int) -> Figures:
        """The same where each call did so many: rate and processor time are of one of them."""
        return replace(
            self, rate=self.rate * items, server_ms=self.server_ms / items, postgres_ms=self.postgres_ms / items
        )

    def line(self, name: str) -> str:
        spent = f"{self.server_ms:>11.2f} ms{self.postgres_ms:>11.2f} ms"
        return f"{name:<42}{self.rate:>9.0f}/s{self.p50_ms:>9.2f} ms{self.p99_ms:>9.2f} ms{spent}"


def nothing() -> float:
    """The clock of a process that takes no part."""
    return 0.0


@dataclass(frozen=True)
class Bench:
    """Runs calls, `at_once` together, and reads the clocks of those who do the work."""

    server: Clock = nothing
    postgres: Clock = nothing
    at_once: int = AT_ONCE

    async def run(self, calls: int, call: Callable[[int], Awaitable[object]]) -> Figures:
        """Make `calls` calls."""
        numbers = iter(range(calls))
        took: list[float] = []

        async def worker() -> None:
            for number in numbers:
                started = time.perf_counter()
                await call(number)
                took.append(time.perf_counter() - started)

        server_s, postgres_s, started = self.server(), self.postgres(), time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self.at_once):
                tasks.create_task(worker())
        elapsed = time.perf_counter() - started
        server_s, postgres_s = self.server() - server_s, self.postgres() - postgres_s
        cuts = statistics.quantiles(took, n=100)
        return Figures(
            calls / elapsed, cuts[49] * 1e3, cuts[98] * 1e3, server_s / calls * 1e3, postgres_s / calls * 1e3
        )


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
            await Bench().run(200, lambda _: method(Empty()))
            return await Bench(server.cpu_s).run(calls, lambda _: method(Empty()))


async def measure_service(
    bench: Bench, database: EmbeddedDatabase, address: str, memories: int, calls: int
) -> tuple[Figures, Figures, Figures]:
    """Remember with the caller's vectors, Recall with words and vector, Recall with words that the server encodes."""
    async with MemoryClient(address, deadline_s=60) as client:
        await client.create_namespace(NAMESPACE)
        kept, made = list(texts(memories, 30, 1)), vectors(memories, 2)
        asked, wanted = list(texts(calls, 6, 3)), vectors(calls, 4)
        say(f"Remember, {memories} times")
        remember = await bench.run(memories, lambda n: client.remember(NAMESPACE, kept[n], vector=made[n]))
        # Autovacuum does it within a minute; the planner knows nothing of these rows before.
        with psycopg.connect(database.dsn("postgres"), autocommit=True) as connection:
            connection.execute("ANALYZE")
        say(f"Recall, {calls} times, twice")
        for n in range(20):
            await client.recall(NAMESPACE, asked[n])
        given = await bench.run(calls, lambda n: client.recall(NAMESPACE, asked[n], vector=wanted[n]))
        encoded = await bench.run(calls, lambda n: client.recall(NAMESPACE, asked[n]))
    return remember, given, encoded


async def measure_cached(bench: Bench, address: str, calls: int) -> tuple[Figures, Figures]:
    """The questions of both kinds of Recall once more, each of which has been answered before."""
    asked, wanted = list(texts(calls, 6, 3)), vectors(calls, 4)
    async with MemoryClient(address, deadline_s=60) as client:

        async def once_more(kind: Callable[[int], Awaitable[Answer]]) -> Figures:
            say(f"Recall, {calls} times, and once more from the cache")
            await Bench().run(calls, kind)
            figures = await bench.run(calls, kind)
            assert (await kind(0)).cached
            return figures

        given = await once_more(lambda n: client.recall(NAMESPACE, asked[n], vector=wanted[n]))
        return given, await once_more(lambda n: client.recall(NAMESPACE, asked[n]))


async def measure_batches(bench: Bench, address: str) -> Figures:
    """BatchRemember with the caller's vectors: texts and vectors as of Remember, in a namespace of their own."""
    kept, made = list(texts(BATCHES * BATCH, 30, 5)), vectors(BATCHES * BATCH, 6)
    drafts = [Draft(text, vector=vector) for text, vector in zip(kept, made, strict=True)]

    async def call(number: int) -> None:
        results = await client.batch_remember(BATCHED, drafts[number * BATCH : (number + 1) * BATCH])
        if failed := next((result for result in results if isinstance(result, CallError)), None):
            raise failed

    async with MemoryClient(address, deadline_s=60) as client:
        await client.create_namespace(BATCHED)
        say(f"BatchRemember, {BATCHES} times {BATCH}")
        return (await bench.run(BATCHES, call)).of(BATCH)


def say(sentence: str) -> None:
    print(f"  {sentence}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--memories", type=int, default=2_000, help="memories in the namespace (default: 2000)")
    parser.add_argument("--calls", type=int, default=1_000, help="Recalls of each kind (default: 1000)")
    options = parser.parse_args()
    say("the handler that does nothing, 5000 times")
    trivial_ = asyncio.run(measure_trivial(5_000))
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

        def postgres() -> float:
            return postgres_cpu_s(Path(folder) / "data")

        with somabrain(["serve"], settings) as server:
            bench = Bench(server.cpu_s, postgres)
            work = measure_service(bench, database, server.address, options.memories, options.calls)
            remember, given, encoded = asyncio.run(work)
        with redis() as kept, somabrain(["serve"], {**settings, "cache__url": kept.url}) as server:
            given_cached, encoded_cached = asyncio.run(
                measure_cached(Bench(server.cpu_s, postgres), server.address, options.calls)
            )
        say("the same rows as raw SQL")
        raw = asyncio.run(raw_inserts(database.dsn("postgres"), AT_ONCE, Bench(postgres=postgres).run))
        with somabrain(["serve"], settings) as server:
            batches = Bench(server.cpu_s, postgres, BATCHES_AT_ONCE)
            batched = asyncio.run(measure_batches(batches, server.address))
    title = f"{options.memories} memories, {AT_ONCE} calls at once"
    print(f"{title:<42}{'rate':>11}{'p50':>12}{'p99':>12}{'server CPU':>14}{'PostgreSQL':>14}")
    print(trivial_.line("a grpc.aio handler that does nothing"))
    print(given.line("Recall, words and vector"))
    print(encoded.line("Recall, words that the server encodes"))
    print(given_cached.line("Recall, words and vector, cached"))
    print(encoded_cached.line("Recall, words alone, cached"))
    print(remember.line("Remember, durable, caller's vector"))
    print(batched.line(f"BatchRemember, {BATCH} each, {BATCHES_AT_ONCE} calls at once"))
    print(raw.line("raw SQL: the same rows, one commit each"))
    print()
    print(f"Recall, words and vector   {given.rate / trivial_.rate:>6.1%} of the rate of doing nothing")
    print(f"Recall, encoded            {encoded.rate / trivial_.rate:>6.1%} of the rate of doing nothing")
    print(f"Recall, words, cached      {encoded_cached.rate / trivial_.rate:>6.1%} of the rate of doing nothing")
    print(f"                           {encoded_cached.rate / encoded.rate:>6.1f} × the rate of Recall, encoded")
    print(f"Recall, vector, cached     {given_cached.rate / given.rate:>6.1f} × the rate of Recall, words and vector")
    print(f"Remember                   {remember.rate / raw.rate:>6.1%} of the rate of raw SQL")


if __name__ == "__main__":
    main()
