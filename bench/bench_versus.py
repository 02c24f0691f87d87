"""Server CPU per call of this version and of another revision: one load generator drives both in turns.

    make bench-versus REV=f4d6445
    make bench-versus REV=f4d6445 OPTIONS="--memories 1000 --calls 200"

Each revision is installed with its own locked packages, and with its native kernel if it has one, and started by its
own command, with settings that both accept. The load generator calls the API over plain stubs: Recall, Remember and
BatchRemember with the caller's vectors, in sessions of 20 memories (`--session-size 0`: without sessions). A round is
one batch of calls to each side, in alternating order, so that the machine's speed is the same for both; the result is
the ratio within a round. Rounds continue until the confidence interval of the median is narrower than ± 3 %, or 40 are
done. Then both are started again on the data that is there, in turns, and the time to the first answer is compared.
Exit status 1: slower by more than 3 % even at the lower end of the interval.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio

from bench.load_generator import LoadGenerator
from bench.paired import Interval, median_interval
from bench.server import Server, somabrain
from bench.synthetic_data import QUESTION_WORDS, SESSION_SIZE, TEXT_WORDS, session, texts, vectors
from devcluster import previous_release
from devcluster.environment import local_paths
from devcluster.progress import Progress
from somabrain.memory.v1 import memory_pb2, memory_service_pb2, namespace_service_pb2
from somabrain.memory.v1.memory_service_pb2_grpc import MemoryServiceStub
from somabrain.memory.v1.namespace_service_pb2_grpc import NamespaceServiceStub

if TYPE_CHECKING:  # names in the type stubs only: at run time one class serves both kinds of channel
    from somabrain.memory.v1.memory_service_pb2_grpc import MemoryServiceAsyncStub
    from somabrain.memory.v1.namespace_service_pb2_grpc import NamespaceServiceAsyncStub

MARGIN: Final = 0.03
"""Share above which the version counts as slower, and width of the confidence interval."""
FEWEST: Final = 8
MOST: Final = 40
"""Number of rounds: fewer give no reliable interval, and more do not narrow it."""
BATCH: Final = 500
MEMORIES_PER_CALL: Final = 50
"""Memories of one measured BatchRemember; the batches of a round have as many memories together as it has calls."""
STARTS: Final = 9
"""Number of starts of each side; of the first ones, which may read from disk, the ratio is dropped."""
DEADLINE_S: Final = 60.0
WARM: Final = 100
LOAD_S: Final = 600.0
INDEXED: Final = ("somabrain_search_index_namespaces", "somabrain_replicas")
"""Names of the metric of namespaces in memory, in the current and in earlier revisions."""

TOKENS: Final = ("somabrain_search_index_token_bytes",)
"""Name of the metric of token vectors in memory, which earlier revisions do not have."""

Measure = Callable[[int], Awaitable[float]]
"""Function that makes the given number of calls and returns the server's processor time per call in milliseconds."""


Start = tuple[list[str], dict[str, str], Path | None]
"""Arguments and settings of a service, and its interpreter; see `somabrain`."""

NewMemory = tuple[memory_pb2.Memory, memory_pb2.Vector | None]


@dataclass(frozen=True, slots=True)
class Side:
    """Running service of one revision."""

    label: str
    server: Server
    memory: MemoryServiceAsyncStub
    namespace: NamespaceServiceAsyncStub
    numbers: Iterator[int]
    """Seeds of texts and vectors; each is used once, so that no call is answered from a cache."""
    session_size: int
    encoded: bool
    """True: the server encodes texts and queries; otherwise the load generator gives vectors."""

    async def fill(self, size: int) -> None:
        """Create the namespaces and put `size` memories into the one that is searched."""
        for name in ("searched", "written"):
            await self.namespace.CreateNamespace(
                namespace_service_pb2.CreateNamespaceRequest(namespace_id=name), timeout=DEADLINE_S
            )
        for start in range(0, size, BATCH):
            number = min(BATCH, size - start)
            rows = zip(texts(number, TEXT_WORDS, start), vectors(number, start), strict=True)
            await self._batch("namespaces/searched", [self._memory(start + i, "", *row) for i, row in enumerate(rows)])

    async def remember(self, calls: int) -> float:
        """Measure Remember, durable, with one memory per call, in milliseconds of server CPU per call."""
        memories = self._memories(calls)

        async def call(number: int) -> None:
            memory, vector = memories[number]
            request = memory_service_pb2.RememberRequest(parent="namespaces/written", memory=memory, vector=vector)
            await self.memory.Remember(request, timeout=DEADLINE_S)

        return (await LoadGenerator(self.server.cpu_s).run(calls, call)).server_ms

    async def batch_remember(self, calls: int) -> float:
        """Measure BatchRemember, durable, MEMORIES_PER_CALL at once, in milliseconds of server CPU per call."""
        batches = [self._memories(MEMORIES_PER_CALL) for _ in range(max(calls // MEMORIES_PER_CALL, 1))]

        async def call(number: int) -> None:
            await self._batch("namespaces/written", batches[number])

        return (await LoadGenerator(self.server.cpu_s).run(len(batches), call)).server_ms

    async def _batch(self, parent: str, memories: list[NewMemory]) -> None:
        requests = [
            memory_service_pb2.RememberRequest(parent=parent, memory=memory, vector=vector)
            for memory, vector in memories
        ]
        request = memory_service_pb2.BatchRememberRequest(parent=parent, requests=requests)
        response = await self.memory.BatchRemember(request, timeout=DEADLINE_S)
        if len(response.results) != len(memories) or any(each.HasField("error") for each in response.results):
            raise RuntimeError(f"{self.label}: BatchRemember did not store all {len(memories)} memories")

    async def recall(self, calls: int) -> float:
        """Measure Recall of ten hits by words and vector, in milliseconds of server CPU per call."""
        rows = self._rows(calls, QUESTION_WORDS)

        async def call(number: int) -> None:
            text, vector = rows[number]
            request = memory_service_pb2.RecallRequest(
                parent="namespaces/searched", query=text, vector=self._vector(vector), top_k=10
            )
            response = await self.memory.Recall(request, timeout=DEADLINE_S)
            if len(response.hits) != 10:
                raise RuntimeError(f"{self.label}: Recall returned {len(response.hits)} hits instead of ten")

        return (await LoadGenerator(self.server.cpu_s).run(calls, call)).server_ms

    def _memories(self, count: int) -> list[NewMemory]:
        seed = next(self.numbers)
        rows = zip(texts(count, TEXT_WORDS, seed), vectors(count, seed), strict=True)
        return [self._memory(i, f"{seed}-", *row) for i, row in enumerate(rows)]

    def _memory(self, number: int, prefix: str, text: str, vector: list[float]) -> NewMemory:
        """Return the memory `number` of a series whose sessions' names begin with `prefix`."""
        name = session(number, self.session_size)
        memory = memory_pb2.Memory(text=text, session=prefix + name if name else "")
        return memory, self._vector(vector)

    def _vector(self, values: list[float]) -> memory_pb2.Vector | None:
        return None if self.encoded else memory_pb2.Vector(values=values)

    def _rows(self, count: int, words: int) -> list[tuple[str, list[float]]]:
        seed = next(self.numbers)
        return list(zip(texts(count, words, seed), vectors(count, seed), strict=True))

    async def load(self) -> None:
        """Wait until the searched namespace is in memory, sending Recalls."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + LOAD_S
        while True:
            await self.recall(WARM)
            tokens = self.server.first_metric(TOKENS, default=1) if self.encoded else 1
            if self.server.first_metric(INDEXED) and tokens:
                return
            if loop.time() > ends_at:
                sys.exit(f"{self.label}: the namespace was not in memory within {LOAD_S:g} s")
            await asyncio.sleep(0.2)


def start_s(arguments: list[str], settings: dict[str, str], python: Path | None) -> float:
    """Start a service on data that is there, and return the seconds until it has answered a Recall."""
    started = time.perf_counter()
    with somabrain(arguments, settings, python) as server, grpc.insecure_channel(server.address) as channel:
        request = memory_service_pb2.RecallRequest(parent="namespaces/searched", query=next(texts(1, 3, 0)), top_k=10)
        MemoryServiceStub(channel).Recall(request, timeout=DEADLINE_S)
        return time.perf_counter() - started


def compare_starts(sides: list[Start]) -> Interval:
    """Start both in turns, and compare the times to the first answer (first to second)."""
    ratios: list[float] = []
    for number in range(STARTS):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        spent = {index: start_s(*sides[index]) for index in order}
        ratios.append(spent[0] / spent[1])
        print(f"start: round {number + 1}, {spent[0]:.2f} s and {spent[1]:.2f} s", file=sys.stderr, flush=True)
    return median_interval(ratios[1:])


async def compare(name: str, measures: tuple[Measure, Measure], calls: int) -> Interval:
    """Measure both in turns until the confidence interval of the ratio (first to second) is within MARGIN."""
    for measure in measures:
        await measure(WARM)
    ratios: list[float] = []
    interval = None
    for number in range(MOST):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        spent = {index: await measures[index](calls) for index in order}
        ratios.append(spent[0] / spent[1])
        line = f"{name}: round {number + 1}, {spent[0]:.3f} ms and {spent[1]:.3f} ms"
        if len(ratios) >= FEWEST:
            interval = median_interval(ratios)
            line += f", ratio {interval}"
        print(line, file=sys.stderr, flush=True)
        if interval is not None and interval.within(MARGIN):
            break
    return interval or median_interval(ratios)


async def measure(sides: tuple[Side, Side], options: argparse.Namespace) -> dict[str, Interval]:
    """Fill both sides, then compare Recall, Remember and BatchRemember."""
    size, calls = options.memories, options.calls
    for side in sides:
        print(f"{side.label}: {size:,} memories", file=sys.stderr, flush=True)
        await side.fill(size)
        await side.load()
    current, other = sides
    if options.only == "start":
        return {}
    results = {f"Recall among {size:,}": await compare("Recall", (current.recall, other.recall), calls)}
    if options.only is None:
        results["Remember"] = await compare("Remember", (current.remember, other.remember), calls)
        results[f"BatchRemember of {MEMORIES_PER_CALL}"] = await compare(
            "BatchRemember", (current.batch_remember, other.batch_remember), calls
        )
    return results


def main() -> int:
    """Install the other revision, run and compare both, print one line per method, and return the exit status."""
    parser = argparse.ArgumentParser(prog="make bench-versus", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "revision", metavar="REV", help="revision to compare with: a commit, tag or branch of this clone"
    )
    parser.add_argument("--memories", type=int, default=10_000, help="number of searched memories (default: 10000)")
    parser.add_argument(
        "--session-size",
        type=int,
        default=SESSION_SIZE,
        help=f"memories of a session, 0: no sessions (default: {SESSION_SIZE})",
    )
    parser.add_argument(
        "--setting", action="append", default=[], metavar="NAME=VALUE", help="setting of both servers, as in a variable"
    )
    parser.add_argument("--encoded", action="store_true", help="let the servers encode texts and queries")
    parser.add_argument("--only", choices=["recall", "start"], help="compare Recall or the start alone")
    parser.add_argument("--calls", type=int, default=500, help="calls per round and side (default: 500)")
    options = parser.parse_args()
    paths = local_paths()
    other = previous_release.install(paths, Progress(paths.cache / "durations.json"), options.revision)
    settings = dict(pair.split("=", 1) for pair in options.setting)
    with ExitStack() as folders:
        sides: list[tuple[str, Start]] = []
        for label, python in (("this version", None), (options.revision, other.python)):
            folder = folders.enter_context(tempfile.TemporaryDirectory(prefix="somabrain-versus-"))
            sides.append((label, (["serve", "--embedded", "--data-dir", f"{folder}/data"], settings, python)))
        with ExitStack() as stack:
            servers = []
            for label, start in sides:
                print(f"{label}: starting", file=sys.stderr, flush=True)
                servers.append((label, stack.enter_context(somabrain(*start))))
            results = asyncio.run(_run(servers, options))
        lines = {f"{name}: server CPU per call": interval for name, interval in results.items()}
        if options.only != "recall":
            lines["start: time to the first answer"] = compare_starts([start for _, start in sides])
    for line, interval in lines.items():
        verdict = "slower by more than 3 %" if interval.low > 1 + MARGIN else "not slower by more than 3 %"
        print(f"{line} is {interval} of {options.revision}'s: {verdict}")
    return int(any(interval.low > 1 + MARGIN for interval in lines.values()))


async def _run(servers: list[tuple[str, Server]], options: argparse.Namespace) -> dict[str, Interval]:
    async with AsyncExitStack() as stack:
        sides = []
        for label, server in servers:
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
            stubs = (MemoryServiceStub(channel), NamespaceServiceStub(channel))
            sides.append(Side(label, server, *stubs, count(1), options.session_size, options.encoded))
        return await measure((sides[0], sides[1]), options)


if __name__ == "__main__":
    sys.exit(main())
