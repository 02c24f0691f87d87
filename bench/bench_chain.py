"""Cost of authentication, quota, policy and tracing for a Recall, compared with none of them, in one run.

    make bench-chain

Two services over one PostgreSQL take turns: one accepts every caller and queries no other service; the other verifies
a Keycloak token with its keys, counts quotas, requests decisions from OPA and traces one call in a hundred. Keys,
identity and decision come from their caches, as they do for all but a caller's first call. The Recalls use words and
vector, without a result cache.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.load_generator import HEADER, Figures, LoadGenerator
from bench.server import Server, somabrain
from bench.synthetic_data import QUESTION_WORDS, TEXT_WORDS, texts, vectors
from common.config.settings import DatabaseSettings
from devcluster.loopback import collector, keycloak, opa
from somabrain_client import MemoryClient, MemoryDraft
from somabrain_service.admin.embedded_postgres import embedded_database
from somabrain_service.admin.migrate import migrate

POLICIES = Path(__file__).parents[1] / "common" / "policy"
NAMESPACE = "chain"
BATCH = 500
MAX_COST = 0.25
"""Maximum cost, as a share of the rate without the interceptor chain."""


async def fill(client: MemoryClient, memories: int) -> None:
    """Store the same memories in either service; each service has its own tenant."""
    await client.create_namespace(NAMESPACE)
    drafts = [
        MemoryDraft(text, vector=vector)
        for text, vector in zip(texts(memories, TEXT_WORDS, 1), vectors(memories, 2), strict=True)
    ]
    for begin in range(0, memories, BATCH):
        await client.batch_remember(NAMESPACE, drafts[begin : begin + BATCH])


async def recall(client: MemoryClient, server: Server, calls: int) -> Figures:
    """Measure `calls` Recalls of ten hits, each with a different question."""
    questions, query_vectors = list(texts(calls, QUESTION_WORDS, 3)), vectors(calls, 4)
    return await LoadGenerator(server.cpu_s).run(
        calls, lambda n: client.recall(NAMESPACE, questions[n], vector=query_vectors[n], top_k=10)
    )


async def measure(servers: dict[str, tuple[Server, str | None]], options: argparse.Namespace) -> int:
    """Measure the servers in turns, print the results, and return the exit status."""
    clients = {
        name: MemoryClient(server.address, token=token, deadline_s=60) for name, (server, token) in servers.items()
    }
    rounds: dict[str, list[Figures]] = {name: [] for name in servers}
    for name, client in clients.items():
        await fill(client, options.memories)
        await recall(client, servers[name][0], 200)  # loads the namespace into the search index and warms every cache
    for number in range(options.rounds):
        print(f"  round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        for name, client in clients.items():
            rounds[name].append(await recall(client, servers[name][0], options.calls))
    for client in clients.values():
        await client.__aexit__(None, None, None)
    print(f"{'Recall, 8 at once, best of the rounds':<52}{HEADER}")
    best = {name: max(measured, key=lambda figures: figures.rate) for name, measured in rounds.items()}
    for name, figures in best.items():
        print(figures.line(name))
    pairs = zip(rounds["without"], rounds["with all of it"], strict=True)
    cost = statistics.median(1 - full.rate / bare.rate for bare, full in pairs)
    print(f"\nidentity, quota, policy and tracing cost {cost:.1%} of the rate without them (median of the rounds)")
    return 1 if cost > MAX_COST else 0


def main() -> int:
    """Run the benchmark and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", type=int, default=2_000, help="memories per namespace (default: 2000)")
    parser.add_argument("--calls", type=int, default=1_000, help="Recalls per round (default: 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds per service (default: 5)")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="somabrain-chain-")))
        folder.chmod(0o755)  # PostgreSQL runs as another user if this runs as root
        database = stack.enter_context(embedded_database(folder / "postgresql", DatabaseSettings()))
        migrate(database.owner_dsn, database.database, lambda _: None)
        engine, telemetry = stack.enter_context(opa(POLICIES)), stack.enter_context(collector())
        central = stack.enter_context(keycloak())
        common = {"postgres_dsn": database.app_dsn, "grpc__host": "127.0.0.1"}
        bare = stack.enter_context(somabrain(["serve"], {**common, "auth__mode": "none", "policy__enabled": "false"}))
        full = stack.enter_context(
            somabrain(
                ["serve"],
                {
                    **common,
                    "auth__issuer": central.issuer(),
                    "auth__jwks_url": central.endpoint("certs"),
                    "auth__tenant_claim": "/tenant",
                    "auth__scope_claim": "/scope",
                    "policy__url": f"{engine.url}/v1/data/sb/policy",
                    "quota__requests_per_second": 1_000_000,
                    "quota__memories": 1_000_000,
                    "trace__endpoint": telemetry.http_endpoint,
                    "trace__sample_ratio": 0.01,
                },
            )
        )
        # Keycloak's tokens are valid for five minutes; a run takes less.
        servers = {"without": (bare, None), "with all of it": (full, central.token("a-admin"))}
        return asyncio.run(measure(servers, options))


if __name__ == "__main__":
    sys.exit(main())
