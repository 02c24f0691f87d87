"""Server CPU of a get by key beside one by name, and of a Recall with five conditions beside one without, in turns.

    make bench-keys OPTIONS="--memories 100000 --calls 200"

One service, started by its own command, has the memories: each with a key and five labels, of which one is a number
with as many values as memories. The conditions compare numbers, texts, a set, a prefix and a presence, and about a
third of the memories meets them all; `--share` changes that. Rounds as in bench_versus. Exit status 1: a bound is
exceeded even at the lower end of its interval.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from itertools import count
from typing import TYPE_CHECKING, Final

import grpc.aio

from bench.bench_versus import BATCH, DEADLINE_S, Side, compare
from bench.load_generator import LoadGenerator
from bench.server import somabrain
from bench.synthetic_data import QUESTION_WORDS, SESSION_SIZE, TEXT_WORDS, session, texts, vectors
from somabrain.memory.v1 import memory_pb2, memory_service_pb2, namespace_service_pb2
from somabrain.memory.v1.memory_service_pb2_grpc import MemoryServiceStub
from somabrain.memory.v1.namespace_service_pb2_grpc import NamespaceServiceStub

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.server import Server

GET_BOUND: Final = 1.2
FILTER_BOUND: Final = 1.3
PARENT: Final = "namespaces/searched"
STATES: Final = ("open", "new", "waiting", "closed")


def labels(number: int) -> dict[str, str]:
    """Return the labels of a memory; `rank` is its number in an order unlike that of storing."""
    return {
        "rank": f"{number * 7919 % 1_000_003}.5",
        "state": STATES[number % 4],
        "path": f"team/{number % 20}/{number}",
        "owner": f"o{number % 50}",
        "size": str(number % 7),
    }


def five_conditions(share: float) -> memory_pb2.MemoryFilter:
    """Return the filter; a condition on the number leaves `share` of what meets the others."""
    condition = memory_pb2.LabelCondition
    return memory_pb2.MemoryFilter(
        conditions=[
            condition(label="rank", operator=memory_pb2.LABEL_OPERATOR_LESS, values=[str(int(share * 1_000_003))]),
            condition(label="state", operator=memory_pb2.LABEL_OPERATOR_IN, values=["open", "new", "waiting"]),
            condition(label="path", operator=memory_pb2.LABEL_OPERATOR_PREFIX, values=["team/1"]),
            condition(label="owner", operator=memory_pb2.LABEL_OPERATOR_EXISTS),
            condition(label="size", operator=memory_pb2.LABEL_OPERATOR_NOT_EQUAL, values=["3"]),
        ]
    )


class Keyed:
    """A running service whose memories have keys and labels."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.names: list[str] = []

    async def fill(self, size: int) -> None:
        """Store the memories."""
        request = namespace_service_pb2.CreateNamespaceRequest(namespace_id="searched")
        await self.side.namespace.CreateNamespace(request, timeout=DEADLINE_S)
        for start in range(0, size, BATCH):
            number = min(BATCH, size - start)
            rows = zip(
                range(start, start + number), texts(number, TEXT_WORDS, start), vectors(number, start), strict=True
            )
            response = await self.side.memory.BatchRemember(
                memory_service_pb2.BatchRememberRequest(
                    parent=PARENT,
                    requests=[
                        memory_service_pb2.RememberRequest(
                            parent=PARENT,
                            memory=memory_pb2.Memory(
                                text=text, session=session(i, SESSION_SIZE), key=f"notes/{i}.md", labels=labels(i)
                            ),
                            vector=memory_pb2.Vector(values=vector),
                        )
                        for i, text, vector in rows
                    ],
                ),
                timeout=DEADLINE_S,
            )
            self.names += [result.memory.name for result in response.results]

    async def get_by_name(self, calls: int) -> float:
        """Measure GetMemory by name, in milliseconds of server CPU per call."""
        return await self._get(self._drawn(self.names, calls))

    async def get_by_key(self, calls: int) -> float:
        """Measure GetMemory by key."""
        keys = [f"{PARENT}/keys/notes/{i}.md" for i in range(len(self.names))]
        return await self._get(self._drawn(keys, calls))

    def _drawn(self, names: Sequence[str], calls: int) -> list[str]:
        start = next(self.side.numbers) * 7919
        return [names[(start + i * 101) % len(names)] for i in range(calls)]

    async def _get(self, names: Sequence[str]) -> float:
        async def call(number: int) -> None:
            request = memory_service_pb2.GetMemoryRequest(name=names[number])
            await self.side.memory.GetMemory(request, timeout=DEADLINE_S)

        return (await LoadGenerator(self.side.server.cpu_s).run(len(names), call)).server_ms

    async def recall(self, calls: int, memory_filter: memory_pb2.MemoryFilter | None) -> float:
        """Measure Recall of ten hits by words and vector."""
        seed = next(self.side.numbers)
        rows = list(zip(texts(calls, QUESTION_WORDS, seed), vectors(calls, seed), strict=True))

        async def call(number: int) -> None:
            text, vector = rows[number]
            request = memory_service_pb2.RecallRequest(
                parent=PARENT, query=text, vector=memory_pb2.Vector(values=vector), top_k=10, filter=memory_filter
            )
            response = await self.side.memory.Recall(request, timeout=DEADLINE_S)
            if len(response.hits) != 10:
                raise RuntimeError(f"Recall returned {len(response.hits)} hits instead of ten")

        return (await LoadGenerator(self.side.server.cpu_s).run(calls, call)).server_ms


async def measure(server: Server, options: argparse.Namespace) -> int:
    """Fill the service, compare both pairs, print a line for each, and return the exit status."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        side = Side(
            "this",
            server,
            MemoryServiceStub(channel),
            NamespaceServiceStub(channel),
            count(1),
            SESSION_SIZE,
            encoded=False,
        )
        keyed = Keyed(side)
        await keyed.fill(options.memories)
        await side.load()
        memory_filter = five_conditions(options.share)
        gets = await compare("GetMemory", (keyed.get_by_key, keyed.get_by_name), options.calls)
        recalls = await compare(
            "Recall",
            (lambda calls: keyed.recall(calls, memory_filter), lambda calls: keyed.recall(calls, None)),
            options.calls,
        )
    print(
        f"GetMemory by key among {options.memories:,}: server CPU per call is {gets} of by name's; at most {GET_BOUND}"
    )
    print(
        f"Recall with five conditions among {options.memories:,}: server CPU per call is {recalls} of without; "
        f"at most {FILTER_BOUND}"
    )
    return int(gets.low > GET_BOUND or recalls.low > FILTER_BOUND)


def main() -> int:
    """Start the service and measure it."""
    parser = argparse.ArgumentParser(prog="make bench-keys", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--memories", type=int, default=100_000, help="number of memories (default: 100000)")
    parser.add_argument("--calls", type=int, default=200, help="calls per round and side (default: 200)")
    parser.add_argument("--share", type=float, default=0.8, help="share that the condition on the number leaves")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="somabrain-keys-") as folder:
        arguments = ["serve", "--embedded", "--data-dir", f"{folder}/data"]
        with somabrain(arguments, {}) as server:
            return asyncio.run(measure(server, options))


if __name__ == "__main__":
    sys.exit(main())
