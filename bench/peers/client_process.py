"""Process of one client: reads commands as lines of JSON, and replies to each with one line.

    python -m bench.peers.client_process SYSTEM DATASET SCRATCH NUMBER CLIENTS

The first reply comes once everything is imported. Standard output carries the replies alone; what a library prints goes
to standard error. The process ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from bench.peers.client import TOP_K, Client, Store, System
from bench.peers.dataset import Dataset, load

RETRY_S = 0.02
FIRST_ANSWER_S = 120.0
STRIDE = 997
"""Distance between the first questions of two clients, so that no two search for the same at once."""
Reply = dict[str, object]


def client_class(system: System) -> Callable[[str, Path], Client]:
    """Import a system's client. It is called with the system's address and with a folder of this process alone."""
    # Imported inside, because the packages of one system are not installed beside those of another.
    match system:
        case System.EMPTY:
            from bench.peers.empty_client import EmptyClient

            return EmptyClient
        case System.PRODUCT:
            from bench.peers.product_client import ProductClient

            return ProductClient
        case System.CHROMA:
            from bench.peers.chroma_client import ChromaClient

            return ChromaClient
        case System.MEM0:
            from bench.peers.mem0_client import Mem0Client

            return Mem0Client


@dataclass
class Commands:
    """The commands, each a method named as in its line of JSON, with the line's other fields as arguments."""

    client: Client
    data: Dataset
    number: int
    clients: int
    per_session: int
    next_question: int = 0
    next_item: int = 0

    async def create(self, store: str) -> Reply:
        """Create a store."""
        await self.client.create(Store(store))
        return {}

    async def fill(self, store: str, start: int, stop: int) -> Reply:
        """Store the memories from `start` to `stop` with their vectors."""
        vectors = self.data.encoded if Store(store).is_encoded else self.data.given
        sessions = [f"s{number // self.per_session}" if self.per_session else "" for number in range(start, stop)]
        items = [self.data.item(start + index, vectors, session) for index, session in enumerate(sessions)]
        await self.client.fill(Store(store), items)
        return {}

    async def search(self, store: str, starts_at: float, seconds: float) -> Reply:
        """Search from `starts_at` on the monotonic clock for `seconds`."""
        hits = 0
        durations_s: list[float] = []
        ends_at = await _wait_until(starts_at) + seconds
        while time.monotonic() < ends_at:
            question, vector = self.data.question(
                self.next_question + self.number * STRIDE, vector=not Store(store).is_encoded
            )
            self.next_question += 1
            started = time.monotonic()
            hits += len(await self.client.search(Store(store), question, vector))
            durations_s.append(time.monotonic() - started)
        return _figures(durations_s, ends_at) | {"hits": hits}

    async def add(self, store: str, first: int, starts_at: float, seconds: float) -> Reply:
        """Add memories from number `first` on, each client its own, from `starts_at` for `seconds`."""
        vectors = None if Store(store).is_encoded else self.data.given
        durations_s: list[float] = []
        ends_at = await _wait_until(starts_at) + seconds
        while time.monotonic() < ends_at:
            session = f"c{self.number}-{self.next_item // self.per_session}" if self.per_session else ""
            item = self.data.item(first + self.next_item * self.clients + self.number, vectors, session)
            self.next_item += 1
            started = time.monotonic()
            await self.client.add(Store(store), item)
            durations_s.append(time.monotonic() - started)
        return _figures(durations_s, ends_at)

    async def first_answer(self, store: str) -> Reply:
        """Search until there is an answer, and return its time on the monotonic clock."""
        ends_at = time.monotonic() + FIRST_ANSWER_S
        question, vector = self.data.question(self.number, vector=True)
        while True:
            try:
                await self.client.search(Store(store), question, vector)
            except Exception:  # each client has errors of its own for a server that does not answer yet
                if time.monotonic() > ends_at:
                    raise
                await asyncio.sleep(RETRY_S)
            else:
                return {"at": time.monotonic()}

    async def nearest(self, store: str, among: int, questions: int) -> Reply:
        """Return the share of the TOP_K nearest vectors that are among the results, and the mean number of results."""
        correct = results = 0
        for number in range(questions):
            question, vector = self.data.question(number, vector=True)
            texts = await self.client.search(Store(store), question, vector)
            correct += len(self.data.nearest(number, among, TOP_K).intersection(texts))
            results += len(texts)
        return {"share": correct / questions / TOP_K, "results": results / questions}

    async def describe(self) -> Reply:
        """Return name and version, and what this process itself writes to disk."""
        return {"version": self.client.version(), "durability": self.client.durability()}


async def _wait_until(starts_at: float) -> float:
    """Wait for the barrier: the instant at which all clients start. Return it."""
    await asyncio.sleep(max(starts_at - time.monotonic(), 0))
    return starts_at


def _figures(durations_s: list[float], ends_at: float) -> Reply:
    """Return the latencies; a call that ended after `ends_at` is not counted as completed."""
    completed = len(durations_s) - (time.monotonic() > ends_at)
    return {"completed": completed, "durations_ms": [round(duration * 1e3, 3) for duration in durations_s]}


async def serve(system: System, arguments: list[str], replies: TextIO) -> None:
    """Reply to the commands of standard input until it ends. The first line has the address and the session's size."""
    folder, scratch, number, clients = Path(arguments[0]), Path(arguments[1]), int(arguments[2]), int(arguments[3])
    data, create_client = load(folder), client_class(system)
    _reply(replies, {})
    first = json.loads(sys.stdin.readline() or "{}")
    if not first:
        return
    client = create_client(first["address"], scratch)
    commands = Commands(client, data, number, clients, first["per_session"])
    _reply(replies, {})
    for line in sys.stdin:
        command = json.loads(line)
        name = command.pop("command")
        try:
            _reply(replies, await getattr(commands, name)(**command))
        except Exception as exc:
            _reply(replies, {"error": f"{name}: {type(exc).__name__}: {exc}"})
            raise


def _reply(replies: TextIO, reply: Reply) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


def main() -> None:
    """Give the replies a separate descriptor, and run until standard input ends."""
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)
        system, *arguments = sys.argv[1:]
        asyncio.run(serve(System(system), arguments, replies))


if __name__ == "__main__":
    main()
