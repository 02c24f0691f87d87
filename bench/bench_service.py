"""Cost of calls compared with a trivial handler and with raw SQL, in one run, and latency of Recall over size.

    make bench
    make bench OPTIONS="--sizes 1000 10000 100000 --plot docs/bench-latency.svg"

Absolute figures depend on the machine and its load; compare the ratios and the processor time per call. Client, server
and PostgreSQL share the processors, as they do for the reference.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio
from google.protobuf.empty_pb2 import Empty

from bench.load_generator import CONCURRENCY, HEADER, Figures, LoadGenerator, median
from bench.plot import Line, plot
from bench.profiler import profiled
from bench.raw_sql import raw_sql
from bench.server import Server, postgres_cpu_s, somabrain, trivial
from bench.synthetic_data import QUESTION_WORDS, SESSION_SIZE, TEXT_WORDS, session, texts, vectors
from bench.trivial_server import METHOD
from common.config.settings import DatabaseSettings
from devcluster.loopback import redis
from somabrain_client import CallError, MemoryClient, MemoryDraft, RecallResult
from somabrain_service.admin.embedded_postgres import EmbeddedDatabase, embedded_database
from somabrain_service.admin.migrate import migrate

ONE_BY_ONE = "one-by-one"
REMEMBER, RAW = "Remember, durable, caller's vector", "raw SQL: the same rows, one commit each"
WARM, ROUNDS = 100, 8
BATCH = 500
BATCH_CONCURRENCY = 2
MANY = 10_000
"""Size whose Recalls are profiled, searched in PostgreSQL and cached."""
LOAD_S = 300.0


@dataclass
class Results:
    """All measurements, by name or by size."""

    table: dict[str, Figures] = field(default_factory=dict)
    in_memory: dict[int, Figures] = field(default_factory=dict)
    in_postgresql: dict[int, Figures] = field(default_factory=dict)
    shares: Counter[str] = field(default_factory=Counter)
    shares_of_raw: list[float] = field(default_factory=list)


async def measure_trivial(calls: int) -> Figures:
    with trivial() as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            method: grpc.aio.UnaryUnaryMultiCallable[Empty, Empty] = channel.unary_unary(
                METHOD, request_serializer=Empty.SerializeToString, response_deserializer=Empty.FromString
            )
            await LoadGenerator().run(200, lambda _: method(Empty()))
            return await LoadGenerator(server.cpu_s).run(calls, lambda _: method(Empty()))


@dataclass(frozen=True)
class Service:
    """Running service with its client and load generator."""

    client: MemoryClient
    server: Server
    load_generator: LoadGenerator
    session_size: int

    async def remember(self, count: int, dsn: str) -> list[tuple[Figures, Figures]]:
        """Measure Remember with the caller's vectors, one by one, and the same rows as raw SQL, in alternating rounds.

        Alternating, because the speed of a shared machine changes within a minute.
        """
        await self.client.create_namespace(ONE_BY_ONE)
        memory_texts, memory_vectors = list(texts(WARM + count, TEXT_WORDS, 1)), vectors(WARM + count, 2)
        numbers = iter(range(WARM + count))

        async def call(_: int) -> object:
            number = next(numbers)
            return await self.client.remember(ONE_BY_ONE, memory_texts[number], vector=memory_vectors[number])

        print_progress(f"Remember, {count} times, and the same rows as raw SQL")
        rounds = []
        async with raw_sql(dsn, CONCURRENCY) as raw:
            # The first, discarded round prepares statements and opens connections on both sides.
            for calls in [WARM, *[count // ROUNDS] * ROUNDS]:
                remembered = await self.load_generator.run(calls, call)
                rows = await raw.fresh()
                written = await LoadGenerator(postgres=self.load_generator.postgres).run(
                    calls,
                    lambda n: raw.insert(rows[n]),  # noqa: B023
                )
                rounds.append((remembered, written))
        return rounds[1:]

    async def fill(self, size: int) -> Figures:
        """Measure BatchRemember with the caller's vectors up to `size` memories; figures are per memory."""
        await self.client.create_namespace(namespace(size))
        memory_texts = list(texts(size, TEXT_WORDS, size))
        batches = range(0, size, BATCH)
        print_progress(f"BatchRemember, {len(batches)} times {BATCH}")

        async def call(number: int) -> None:
            begin = batches[number]
            some = memory_texts[begin : begin + BATCH]
            batch_vectors = vectors(len(some), size + begin)
            drafts = [
                MemoryDraft(text, vector=vector, session=session(begin + i, self.session_size))
                for i, (text, vector) in enumerate(zip(some, batch_vectors, strict=True))
            ]
            results = await self.client.batch_remember(namespace(size), drafts)
            if failed := next((result for result in results if isinstance(result, CallError)), None):
                raise failed

        bench = LoadGenerator(self.load_generator.server, self.load_generator.postgres, BATCH_CONCURRENCY)
        return (await bench.run(len(batches), call)).of(BATCH)

    async def recall(self, size: int, calls: int, concurrency: int = CONCURRENCY, *, encoded: bool = False) -> Figures:
        """Measure Recall of ten hits, with the caller's vector, or with `encoded` words that the server encodes."""
        questions, query_vectors = list(texts(calls + 20, QUESTION_WORDS, 3)), vectors(calls + 20, 4)

        async def call(number: int) -> None:
            vector = None if encoded else query_vectors[number]
            answer = await self.client.recall(namespace(size), questions[number], vector=vector)
            if len(answer.hits) != 10:
                raise RuntimeError(f"Recall returned {len(answer.hits)} hits instead of ten")

        print_progress(f"Recall among {size:,}, {calls} times, {concurrency} at once")
        for number in range(calls, calls + 20):
            await call(number)
        bench = LoadGenerator(self.load_generator.server, self.load_generator.postgres, concurrency)
        return await bench.run(calls, call)

    async def cached(self, size: int, calls: int, *, encoded: bool) -> Figures:
        """Measure Recall with each question already in the result cache."""
        await self.recall(size, calls, encoded=encoded)
        figures = await self.recall(size, calls, encoded=encoded)
        (question,) = texts(1, QUESTION_WORDS, 3)
        answer: RecallResult = await self.client.recall(
            namespace(size), question, vector=None if encoded else vectors(1, 4)[0]
        )
        if not answer.cached:
            raise RuntimeError("a repeated question was not answered from the result cache")
        return figures

    async def load(self, size: int, loaded: int) -> None:
        """Send one Recall, and wait until `loaded` namespaces are in the search index."""
        await self.client.recall(namespace(size), "anything")
        ends_at = time.monotonic() + LOAD_S
        while self.server.metric("somabrain_search_index_namespaces") < loaded:
            if time.monotonic() > ends_at:
                sys.exit(f"The namespace of {size:,} was not in the search index within {LOAD_S:g} s.")
            await asyncio.sleep(0.1)


def namespace(size: int) -> str:
    return f"of-{size}"


Measure = Callable[[Service, list[int], int, Results], Awaitable[None]]


async def measure_in_memory(service: Service, sizes: list[int], calls: int, results: Results) -> None:
    """Fill namespaces, the smallest first, and measure Recall in each."""
    smallest = sizes[0]
    for loaded, size in enumerate(sizes, start=1):
        filled = await service.fill(size)
        if size >= MANY or size == sizes[-1]:
            results.table[f"BatchRemember, {BATCH} each, {BATCH_CONCURRENCY} at once, to {size:,}"] = filled
        await service.load(size, loaded)
        results.in_memory[size] = await service.recall(size, calls // 2, 1)
        if size == smallest:
            results.table[f"Recall among {size:,}, alone in the tenant"] = await service.recall(size, calls)
            continue
        with profiled(service.server.process.pid, results.shares if size == MANY else Counter()):
            await service.recall(size, calls // 2)
        results.table[f"Recall among {size:,}, words and vector"] = await service.recall(size, calls)
        results.table[f"Recall among {size:,}, words that the server encodes"] = await service.recall(
            size, calls // 2, encoded=True
        )
    if len(sizes) > 1:
        others = f"beside {sum(sizes) - smallest:,} of others"
        results.table[f"Recall among {smallest:,}, {others}"] = await service.recall(smallest, calls)


async def measure_in_postgresql(service: Service, sizes: list[int], calls: int, results: Results) -> None:
    for size in sizes:
        results.in_postgresql[size] = await service.recall(size, max(20, min(calls, 2_000_000 // size)), 1)
    size = MANY if MANY in sizes else sizes[-1]
    results.table[f"Recall among {size:,}, searched in PostgreSQL"] = await service.recall(size, calls // 4)


async def measure_cached(service: Service, sizes: list[int], calls: int, results: Results) -> None:
    size = MANY if MANY in sizes else sizes[-1]
    for encoded, what in ((False, "words and vector"), (True, "words alone")):
        results.table[f"Recall among {size:,}, {what}, cached"] = await service.cached(size, calls, encoded=encoded)


def run(options: argparse.Namespace) -> Results:
    results = Results()
    print_progress("the trivial handler, 5000 times")
    results.table["a grpc.aio handler that does nothing"] = asyncio.run(measure_trivial(5_000))
    with (
        tempfile.TemporaryDirectory(prefix="somabrain-bench-") as folder,
        embedded_database(Path(folder) / "data", DatabaseSettings()) as database,
    ):
        migrate(database.owner_dsn, database.database, lambda _: None)

        def postgres() -> float:
            return postgres_cpu_s(Path(folder) / "data")

        async def measured(server: Server, measure: Measure) -> None:
            async with MemoryClient(server.address, deadline_s=60) as client:
                service = Service(client, server, LoadGenerator(server.cpu_s, postgres), options.session_size)
                await measure(service, options.sizes, options.calls, results)

        async def write_then_search(service: Service, sizes: list[int], calls: int, results: Results) -> None:
            rounds = await service.remember(options.memories, database.dsn("postgres"))
            for name, figures in zip((REMEMBER, RAW), zip(*rounds, strict=True), strict=True):
                results.table[name] = median(figures)
            results.shares_of_raw = [remembered.rate / written.rate for remembered, written in rounds]
            await measure_in_memory(service, sizes, calls, results)

        with somabrain(["serve"], settings(database, "2000000000")) as server:
            asyncio.run(measured(server, write_then_search))
        with somabrain(["serve"], settings(database, "0")) as server:
            asyncio.run(measured(server, measure_in_postgresql))
        with (
            redis() as cache_server,
            somabrain(["serve"], settings(database, "0") | {"cache__url": cache_server.url}) as server,
        ):
            asyncio.run(measured(server, measure_cached))
    return results


def settings(database: EmbeddedDatabase, budget_bytes: str) -> dict[str, object]:
    return {
        "postgres_dsn": database.app_dsn,
        "grpc__host": "127.0.0.1",
        "auth__mode": "none",
        "policy__enabled": "false",
        "search_index__budget_bytes": budget_bytes,
    }


def report(results: Results) -> None:
    table = results.table
    print(f"{f'{CONCURRENCY} calls at once':<52}{HEADER}")
    for name, figures in table.items():
        print(figures.line(name))
    print(f"\n{'Recall, one call at a time, words and vector':<52}{HEADER}")
    for where, by_size in (("in memory", results.in_memory), ("in PostgreSQL", results.in_postgresql)):
        for size, figures in by_size.items():
            print(figures.line(f"among {size:,}, {where}"))
    baseline = table["a grpc.aio handler that does nothing"]
    shares = sorted(results.shares_of_raw)
    print(
        f"\nRemember has {statistics.median(shares):.1%} of the rate of raw SQL, the median of {len(shares)} rounds"
        f" from {shares[0]:.1%} to {shares[-1]:.1%}"
    )
    for name, figures in table.items():
        if name.startswith("Recall"):
            print(f"{name}: {figures.rate / baseline.rate:.1%} of the rate of the trivial handler")
    if results.shares:
        total = sum(results.shares.values())
        print(f"\ntime of the service by part in a Recall among {MANY:,} ({total} samples)")
        for part, count in results.shares.most_common():
            print(f"{part:<52}{count / total:>11.1%}")


def print_progress(sentence: str) -> None:
    print(f"  {sentence}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--memories", type=int, default=2_000, help="number of Remember calls (default: 2000)")
    parser.add_argument("--calls", type=int, default=1_000, help="number of Recall calls per kind (default: 1000)")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1_000, MANY], help="sizes of namespaces (default: 1000 10000)"
    )
    parser.add_argument(
        "--session-size",
        type=int,
        default=SESSION_SIZE,
        help=f"memories of a session in the searched namespaces, 0: no sessions (default: {SESSION_SIZE})",
    )
    parser.add_argument("--plot", type=Path, help="SVG file of the latency over size")
    options = parser.parse_args()
    options.sizes.sort()
    results = run(options)
    report(results)
    if options.plot:
        lines = [
            Line(name, [(size, figures.p50_ms) for size, figures in by_size.items()])
            for name, by_size in (("in memory", results.in_memory), ("in PostgreSQL", results.in_postgresql))
        ]
        title = "Recall, one call at a time: median latency"
        options.plot.write_text(plot(title, "memories in the namespace", "milliseconds", lines))


if __name__ == "__main__":
    main()
