"""How long until a flag acts: from the moment that etcd has acknowledged it to the first call that feels it.

    make bench-flags

A caller asks again and again without a pause, so what is measured holds one call of its own, which is printed last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.server import somabrain
from common.config.settings import DatabaseSettings
from somabrain_client import MemoryClient, RetryPolicy
from somabrain_client.errors import FailedPreconditionError, ResourceExhaustedError
from somabrain_local.loopback import Etcd, etcd
from somabrain_service.embedded import embedded_database
from somabrain_service.migrate import migrate

TENANT = "/somabrain/flags/tenants/local"
NAMESPACE = "bench"


def line(name: str, took_s: list[float]) -> str:
    cuts = statistics.quantiles(took_s, n=10, method="inclusive")
    return f"{name:<58}{cuts[4] * 1e3:>9.1f} ms{cuts[8] * 1e3:>9.1f} ms{max(took_s) * 1e3:>9.1f} ms"


async def until(felt: Callable[[], Awaitable[bool]]) -> float:
    started = time.perf_counter()
    while not await felt():
        pass
    return time.perf_counter() - started


async def measure(store: Etcd, address: str, rounds: int) -> None:
    async with MemoryClient(address, retry=RetryPolicy(max_attempts=1)) as client:
        await client.create_namespace(NAMESPACE)

        async def refused(kind: type[Exception], call: Callable[[], Awaitable[object]]) -> bool:
            try:
                await call()
            except kind:
                return True
            return False

        async def written() -> object:
            return await client.remember(NAMESPACE, "Bees dance.")

        async def looked() -> object:
            return await client.get_namespace(NAMESPACE)

        async def closed() -> bool:
            return await refused(FailedPreconditionError, written)

        async def opened() -> bool:
            return not await closed()

        async def slowed() -> bool:
            return await refused(ResourceExhaustedError, looked)

        async def freed() -> bool:
            return not await slowed()

        async def lowered() -> bool:
            found = (await client.get_namespace(NAMESPACE)).statistics
            return found is not None and found.tenant_memory_limit == limit

        took: dict[str, list[float]] = {}
        for limit in range(1, rounds + 1):
            for name, flag, value, felt in (
                ("read_only set: the first write that is refused", "read_only", "true", closed),
                ("read_only cleared: the first write that is let in", "read_only", None, opened),
                ("a rate lowered: the first call that is refused", "requests_per_second", "0.001", slowed),
                ("a rate lifted: the first call that is let in", "requests_per_second", None, freed),
                ("a stock lowered: GetNamespace tells it", "memories", str(limit), lowered),
            ):
                key = f"{TENANT}/{flag}"
                store.delete(key) if value is None else store.put(key, value)
                took.setdefault(name, []).append(await until(felt))
            store.delete(f"{TENANT}/memories")
        calls = []
        for _ in range(rounds):
            started = time.perf_counter()
            await looked()
            calls.append(time.perf_counter() - started)
    print(f"{f'{rounds} rounds':<58}{'p50':>12}{'p90':>12}{'max':>12}")
    for name, each in took.items():
        print(line(name, each))
    print(line("one call of the caller", calls))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=50, help="how often each is changed (default: 50)")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="somabrain-bench-") as folder,
        embedded_database(Path(folder) / "data", DatabaseSettings()) as database,
        etcd() as store,
    ):
        migrate(database.owner_dsn, database.database, lambda _: None)
        settings = {
            "postgres_dsn": database.app_dsn,
            "grpc__host": "127.0.0.1",
            "auth__mode": "none",
            "policy__enabled": "false",
            "encoder__kind": "lexical",
            "flags__endpoints": json.dumps([store.url]),
        }
        with somabrain(["serve"], settings) as server:
            asyncio.run(measure(store, server.address, options.rounds))


if __name__ == "__main__":
    main()
