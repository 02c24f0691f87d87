"""Bytes of token vectors in PostgreSQL and in memory, and the cost of a Recall on both sides of the memory budget.

    make bench-token-vectors
    make bench-token-vectors OPTIONS="--memories 10000 --calls 50 --turns FILE"

Two services over one PostgreSQL search the same memories, which they encode. One has room for their token vectors in
its search index; the other has room for everything else, and reads those of each shortlist from PostgreSQL. Texts are
English words in the frequencies of natural language, or with `--turns` those of a file of conversations
(docs/bench.md), repeated until there are enough. Calls are one at a time, in rounds that alternate between both.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Final

import psycopg

from bench import conversations
from bench.bench_service import settings
from bench.load_generator import HEADER, Clock, Figures, LoadGenerator, median
from bench.paired import median_interval
from bench.server import Server, postgres_cpu_s, somabrain
from bench.synthetic_data import QUESTION_WORDS, TEXT_WORDS, session, texts
from common.config.settings import DatabaseSettings, SearchIndexSettings
from somabrain_client import CallError, MemoryClient, MemoryDraft
from somabrain_service.admin.embedded_postgres import embedded_database
from somabrain_service.admin.migrate import migrate

IN_MEMORY: Final = "token vectors in memory"
IN_POSTGRESQL: Final = "token vectors in PostgreSQL"
NAMESPACE: Final = "searched"
BATCH: Final = 500
ROUNDS: Final = 8
FILL_S: Final = 600.0
LOAD_S: Final = 300.0
TOKEN_BYTES: Final = "somabrain_search_index_token_bytes"
INDEX_BYTES: Final = "somabrain_search_index_bytes"


async def fill(client: MemoryClient, memories: list[str]) -> None:
    await client.create_namespace(NAMESPACE)
    for begin in range(0, len(memories), BATCH):
        some = memories[begin : begin + BATCH]
        drafts = [MemoryDraft(text, session=session(begin + number)) for number, text in enumerate(some)]
        for result in await client.batch_remember(NAMESPACE, drafts):
            if isinstance(result, CallError):
                raise result
        print(f"  {begin + len(some):,} of {len(memories):,} memories", file=sys.stderr, flush=True)


async def load(client: MemoryClient, server: Server, *, with_tokens: bool) -> None:
    """Wait until the namespace is in the search index, with all token vectors if they have room there."""
    ends_at = time.monotonic() + LOAD_S
    before = 0.0
    while time.monotonic() < ends_at:
        await client.recall(NAMESPACE, "anything")
        tokens = server.metric(TOKEN_BYTES)
        has_all = not with_tokens or 0 < tokens == before
        if has_all and server.metric("somabrain_search_index_namespaces"):
            return
        before = tokens
        await asyncio.sleep(1)  # token vectors are loaded page by page, several in a second
    sys.exit(f"The namespace was not in the search index within {LOAD_S:g} s; are there too many memories?")


async def recall(client: MemoryClient, generator: LoadGenerator, calls: int, seed: int) -> Figures:
    questions = list(texts(calls, QUESTION_WORDS, seed))

    async def call(number: int) -> None:
        answer = await client.recall(NAMESPACE, questions[number])
        if answer.best_match is None:
            raise RuntimeError("the token vectors were not compared")

    return await generator.run(calls, call)


def table_bytes(dsn: str) -> dict[str, int]:
    """Return the bytes of each table of the service by name, with its indexes and its TOAST table."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        sizes = connection.execute(
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 2 DESC"
        )
        return {str(name): int(size) for name, size in sizes}


def report_bytes(sizes: dict[str, int], index: float, tokens: float, memories: int) -> None:
    total, of_tokens = sum(sizes.values()), sizes["memory_token_vectors"]
    print(f"{'bytes per memory':<40}{'without':>10}{'with token vectors':>20}")
    print(
        f"{'PostgreSQL, with indexes and TOAST':<40}{(total - of_tokens) / memories:>10,.0f}{total / memories:>20,.0f}"
    )
    print(f"{'search index':<40}{(index - tokens) / memories:>10,.0f}{index / memories:>20,.0f}")
    budget = SearchIndexSettings().budget_bytes
    print(
        f"the default budget of {budget:,} bytes is enough for {budget / (index / memories):,.0f} memories with token"
        f" vectors, {budget / ((index - tokens) / memories):,.0f} without"
    )


def memories(options: argparse.Namespace) -> list[str]:
    """Return the texts to store."""
    if options.turns is None:
        return list(texts(options.memories, TEXT_WORDS, 1))
    spoken: Iterator[str] = chain.from_iterable(
        (turn.text for turn in one.turns) for one in conversations.read(options.turns).conversations
    )
    return list(islice(cycle(spoken), options.memories))


Side = tuple[MemoryClient, Server]


async def compare(sides: dict[str, Side], postgres: Clock, calls: int) -> dict[str, list[Figures]]:
    """Measure Recalls of each side, in rounds of alternating order; the first opens connections and is dropped."""
    rounds: dict[str, list[Figures]] = {name: [] for name in sides}
    for number in range(ROUNDS + 1):
        for name in sorted(sides, reverse=number % 2 == 1):
            client, server = sides[name]
            generator = LoadGenerator(server.cpu_s, postgres, concurrency=1)
            rounds[name].append(await recall(client, generator, calls, number))
        print(f"  round {number} of {ROUNDS}", file=sys.stderr, flush=True)
    return {name: figures[1:] for name, figures in rounds.items()}


async def run(options: argparse.Namespace) -> dict[str, list[Figures]]:
    """Fill the first service, print the bytes, and compare it with one that has room for half of the token vectors."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="somabrain-bench-"))) / "data"
        database = stack.enter_context(embedded_database(folder, DatabaseSettings()))
        migrate(database.owner_dsn, database.database, lambda _: None)

        async def start(budget_bytes: int) -> Side:
            server = stack.enter_context(somabrain(["serve"], settings(database, str(budget_bytes))))
            client = await stack.enter_async_context(MemoryClient(server.address, deadline_s=FILL_S))
            return client, server

        client, server = await start(options.budget_bytes)
        await fill(client, memories(options))
        await load(client, server, with_tokens=True)
        index, tokens = server.metric(INDEX_BYTES), server.metric(TOKEN_BYTES)
        report_bytes(table_bytes(database.dsn("postgres")), index, tokens, options.memories)
        other, tight = await start(int(index - tokens / 2))
        await load(other, tight, with_tokens=False)
        if tight.metric(TOKEN_BYTES):
            raise RuntimeError("the smaller budget has room for token vectors")
        sides = {IN_MEMORY: (client, server), IN_POSTGRESQL: (other, tight)}
        return await compare(sides, lambda: postgres_cpu_s(folder), options.calls)


def report(rounds: dict[str, list[Figures]], memories: int) -> None:
    print(f"\n{f'Recall among {memories:,}, one call at a time':<52}{HEADER}")
    for name, figures in rounds.items():
        print(median(figures).line(name))
    pairs = list(zip(rounds[IN_POSTGRESQL], rounds[IN_MEMORY], strict=True))
    print(f"p50: {median_interval([one.p50_ms / two.p50_ms for one, two in pairs])} of that in memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--memories", type=int, default=5_000, help="number of memories (default: 5000)")
    parser.add_argument("--calls", type=int, default=50, help="calls per round and side (default: 50)")
    parser.add_argument("--turns", metavar="FILE", help="file of conversations whose turns are stored")
    parser.add_argument("--budget-bytes", type=int, default=2_000_000_000, help="budget of the first service")
    options = parser.parse_args()
    report(asyncio.run(run(options)), options.memories)


if __name__ == "__main__":
    main()
