"""Benchmark of the operator over many resources, compared with a plain kopf operator that renders the same objects.

    make bench-operator N=1000

etcd and kube-apiserver are real and run on loopback. bench/controllers.py, a separate process, writes what
kube-controller-manager and the kubelet would write: Jobs complete, Deployments get pods and are rolled out. No pod
runs. Writes are counted in the API server's audit log; memory and processor time are read from /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from bench import controllers
from bench.controllers import BRAINS, DEPLOYMENTS
from bench.plot import Line, plot
from bench.process import usage
from devcluster.loopback import api_server
from tests.integration.operator.api import Api, api_of
from tests.integration.operator.chart import SYSTEM, account_of, install
from tests.integration.operator.process import Operator, operator, plain_operator

NAMESPACES = 10
NEVER_READY = 20
CONCURRENCY = 16
FIRST_MIB = 2049
"""Memory limit of the first edit; each edit uses a different one, so that every edit is a change."""
IDLE_S = 4.0
SAMPLE_S = 0.25
BUSY = 0.08
"""Share of a processor below which an operator counts as idle on a machine of the reference speed. The Lease and idle
watches take less, and on a slower machine as much more as it is slower."""
REFERENCE_S = 0.25
"""Processor time of `calibration_s` on the machine of docs/bench-operator.md."""
LONGEST_S = 900.0
Start = Callable[[Path, Path], AbstractContextManager[Operator]]


@dataclass
class Figures:
    """Measurements of one operator with `count` resources."""

    name: str
    count: int
    created_s: float = 0
    settled_s: float = 0
    writes_each: float = 0
    created_cpu_s: float = 0
    edits_ms: list[float] = field(default_factory=list)
    idle_writes: float = 0
    idle_cpu: float = 0
    """Share of a processor that the operator uses at rest."""
    idle_api_cpu: float = 0
    """The same of the API server, without etcd."""
    never: float = 0
    restart_s: float = 0
    restart_writes: int = 0
    restart_cpu_s: float = 0
    memory_mib: float = 0
    peak_mib: float = 0

    def edit_ms(self, percent: int) -> float:
        """Return a percentile of the edit durations, in milliseconds."""
        return statistics.quantiles(self.edits_ms, n=100, method="inclusive")[percent - 1]


class Bench:
    """One API server with `count` resources, and the operators that reconcile them, one after the other."""

    def __init__(self, api: Api, fast: controllers.Api, account: Path, folder: Path, count: int) -> None:
        """Create no objects yet."""
        self.api, self.fast, self.account, self.folder, self.count = api, fast, account, folder, count
        self.applied: dict[tuple[str, str], tuple[int, float]] = {}
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Record the time at which each generation of each Deployment is first observed."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._watch())
            yield
            task.cancel()

    async def _watch(self) -> None:
        async for event, deployment in self.fast.watch(DEPLOYMENTS.format("")):
            if event == "LISTED":
                continue
            metadata = deployment["metadata"]
            key, generation = (metadata["namespace"], metadata["name"]), metadata["generation"]
            if event != "DELETED" and self.applied.get(key, (0, 0.0))[0] < generation:
                self.applied[key] = generation, time.perf_counter()
                self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` is true, evaluating it after each change of a Deployment.

        Raises:
            TimeoutError: it was not true within LONGEST_S.
        """
        async with asyncio.timeout(LONGEST_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def prepare(self) -> None:
        """Create the namespaces, and two Secrets for each resource."""
        for number in range(NAMESPACES):
            await self.fast.call("POST", "/api/v1/namespaces", {"metadata": {"name": f"n{number}"}})
        names = [*range(self.count), *(f"never-{number}" for number in range(NEVER_READY))]
        await run_concurrently(names, self._secrets)

    async def _secrets(self, number: int | str) -> None:
        for what, data in (("database", ("app-dsn", "worker-dsn")), ("migration", ("owner-dsn",))):
            body = {
                "metadata": {"name": f"{what}-{number}"},
                "stringData": {key: f"postgresql://{key}:{number}@pg/s" for key in data},
            }
            await self.fast.call("POST", f"/api/v1/namespaces/{namespace_of(number)}/secrets", body)

    async def create(self, number: int | str, **more: object) -> None:
        """Create a resource."""
        spec = {
            "database": {"secretRef": {"name": f"database-{number}"}},
            "migration": {"database": {"secretRef": {"name": f"migration-{number}"}}},
            **more,
        }
        body = {
            "apiVersion": "somabrain.io/v1alpha1",
            "kind": "SomaBrain",
            "metadata": {"name": f"b{number}"},
            "spec": spec,
        }
        await self.fast.call("POST", BRAINS.format(f"namespaces/{namespace_of(number)}/"), body)

    async def edit(self, number: int, memory: str) -> float:
        """Change a resource's memory limit, and return the seconds until its Deployment was applied."""
        key = (namespace_of(number), f"b{number}-server")
        before = self.applied[key][0]
        started = time.perf_counter()
        path = f"{BRAINS.format(f'namespaces/{key[0]}/')}/b{number}"
        await self.fast.merge(path, {"spec": {"resources": {"limits": {"memory": memory}}}})
        await self.until(lambda: self.applied[key][0] > before)
        return self.applied[key][1] - started

    async def measure(self, name: str, start: Start, edits: int, idle_s: float) -> Figures:
        """Run all measurements of one operator."""
        figures = Figures(name, self.count)
        with start(self.account, self.folder / f"{name}.log") as running:
            await asyncio.to_thread(running.wait_until_started)
            await wait_until_idle(running)
            print_progress(f"{name}: creating {self.count} resources")
            before, started = usage(running.process.pid), time.perf_counter()
            writes = len(self.api.writes())
            await run_concurrently(range(self.count), self.create)
            await self.until(lambda: len(self.applied) >= self.count)
            figures.created_s = max(at for _, at in self.applied.values()) - started
            figures.settled_s = await wait_until_idle(running) - started
            figures.created_cpu_s = usage(running.process.pid).cpu_s - before.cpu_s
            figures.writes_each = (len(self.api.writes()) - writes) / self.count
            print_progress(f"{name}: no changes for {idle_s:.0f} s")
            before, server_cpu_s = usage(running.process.pid), self._server_cpu_s()
            figures.idle_writes = await self.writes_a_minute(idle_s)
            figures.idle_cpu = (usage(running.process.pid).cpu_s - before.cpu_s) / idle_s
            figures.idle_api_cpu = (self._server_cpu_s() - server_cpu_s) / idle_s
            print_progress(f"{name}: {edits} edits, one after the other")
            for index in range(edits):
                number, memory = random.randrange(self.count), FIRST_MIB + index
                figures.edits_ms.append(1000 * await self.edit(number, f"{memory}Mi"))
                await asyncio.sleep(0.1)
            await wait_until_idle(running)
            print_progress(f"{name}: {NEVER_READY} additional resources that never become ready, {idle_s:.0f} s")
            for number in range(NEVER_READY):
                await self.create(f"never-{number}", image="registry.example/brain:never", migration={"enabled": False})
            await wait_until_idle(running)
            figures.never = await self.writes_a_minute(idle_s)
            running.process.kill()
            running.process.wait()
        print_progress(f"{name}: restarting after SIGKILL")
        writes = len(self.api.writes())
        started = time.perf_counter()
        with start(self.account, self.folder / f"{name}-again.log") as running:
            await asyncio.to_thread(running.wait_until_started)
            figures.restart_s = await wait_until_idle(running) - started
            spent = usage(running.process.pid)
            figures.restart_cpu_s, figures.memory_mib, figures.peak_mib = spent.cpu_s, spent.now_mib, spent.peak_mib
            figures.restart_writes = len(self.api.writes()) - writes
        return figures

    def _server_cpu_s(self) -> float:
        return usage(self.api.server.process.pid).cpu_s

    async def writes_a_minute(self, seconds: float) -> float:
        """Return the operator's writes per minute, except to its Lease, measured over `seconds`."""
        before = len(self.api.writes())
        await asyncio.sleep(seconds)
        return (len(self.api.writes()) - before) * 60 / seconds


def namespace_of(number: int | str) -> str:
    """Return the namespace of a resource."""
    return f"n{int(str(number).rpartition('-')[2]) % NAMESPACES}"


async def run_concurrently(items: object, work: Callable[..., object]) -> None:
    """Call `work` for each item, CONCURRENCY at the same time."""
    waiting = iter(items)  # type: ignore[call-overload]

    async def worker() -> None:
        for each in waiting:
            await work(each)  # type: ignore[misc]

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(worker())


async def wait_until_idle(running: Operator) -> float:
    """Wait until an operator has been idle for IDLE_S, and return the `time.perf_counter` at which it became idle.

    Raises:
        TimeoutError: it was not idle within LONGEST_S.
    """
    pid, busy, started = running.process.pid, BUSY * max(1.0, calibration_s() / REFERENCE_S), time.perf_counter()
    last = started
    spent = usage(pid).cpu_s
    while (now := time.perf_counter()) - last < IDLE_S:
        await asyncio.sleep(SAMPLE_S)
        was, spent = spent, usage(pid).cpu_s
        if spent - was > busy * SAMPLE_S:
            last = time.perf_counter()
        if now - started > LONGEST_S:
            raise TimeoutError(f"the operator of {running.log} was not idle within {LONGEST_S:g} s")
    return last


@cache
def calibration_s() -> float:
    """Return the processor time of a fixed piece of work like the operator's: parsing and writing JSON."""
    started = time.process_time()
    tree = {f"key-{number}": {"name": str(number), "items": [number] * 8} for number in range(1000)}
    for _ in range(100):
        json.loads(json.dumps(tree))
    return time.process_time() - started


def print_progress(sentence: str) -> None:
    print(f"  {sentence}", file=sys.stderr, flush=True)


async def run(start: Start, name: str, count: int, edits: int, idle_s: float) -> Figures:
    """Measure one operator on its own API server."""
    with (
        tempfile.TemporaryDirectory(prefix="somabrain-bench-") as directory,
        api_server() as server,
        api_of(server) as api,
    ):
        folder = Path(directory)
        install(api)
        api.create(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "plain"},
                "subjects": [{"kind": "ServiceAccount", "name": "somabrain-operator", "namespace": SYSTEM}],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            }
        )
        account = account_of(api, folder)
        with controllers.controllers(server, folder / "controllers.log"):
            async with controllers.api_of(server.url, server.ca_file, server.token) as fast:
                bench = Bench(api, fast, account, folder, count)
                await bench.prepare()
                async with bench.watching():
                    return await bench.measure(name, start, edits, idle_s)


def released_operator(kubeconfig: Path, log: Path) -> AbstractContextManager[Operator]:
    """Run the operator with its defaults instead of the short intervals of tests."""
    return operator(kubeconfig, log, SOMABRAIN_OPERATOR__REFERENCE_POLL_INTERVAL_S="60")


def polling_operator(kubeconfig: Path, log: Path) -> AbstractContextManager[Operator]:
    """Run it as without the right to watch Secrets."""
    settings = {"SOMABRAIN_OPERATOR__REFERENCE_WATCH": "false"}
    return operator(kubeconfig, log, SOMABRAIN_OPERATOR__REFERENCE_POLL_INTERVAL_S="60", **settings)


ROWS: tuple[tuple[str, str, Callable[[Figures], str]], ...] = (
    ("created → all Deployments exist", "≤ 60 s", lambda f: f"{f.created_s:.1f} s"),
    ("created → quiet", "", lambda f: f"{f.settled_s:.1f} s"),
    ("writes a resource until then", "", lambda f: f"{f.writes_each:.1f}"),
    ("processor time of the operator for it", "", lambda f: f"{f.created_cpu_s:.1f} s"),
    ("restarted with everything in sync → quiet", "≤ 10 s", lambda f: f"{f.restart_s:.1f} s"),
    ("… writes", "0", lambda f: f"{f.restart_writes}"),
    ("one edit → Deployment applied, p50", "≤ 25 ms", lambda f: f"{f.edit_ms(50):.0f} ms"),
    ("… p99", "≤ 100 ms", lambda f: f"{f.edit_ms(99):.0f} ms"),
    ("memory", "≤ 150 MiB", lambda f: f"{f.memory_mib:.0f} MiB (peak {f.peak_mib:.0f})"),
    ("processor at rest: operator", "", lambda f: f"{f.idle_cpu:.1%} of one"),
    ("… API server", "", lambda f: f"{f.idle_api_cpu:.1%} of one"),
    ("… both", "≤ 3 %", lambda f: f"{f.idle_cpu + f.idle_api_cpu:.1%} of one"),
    ("writes a minute at rest", "0", lambda f: f"{f.idle_writes:g}"),
    (f"… and with {NEVER_READY} that never become ready", "0", lambda f: f"{f.never:g}"),
)


STARTS: dict[str, Start] = {"somabrain-operator": released_operator, "plain kopf": plain_operator}
ALL_STARTS: dict[str, Start] = {**STARTS, "polling": polling_operator}


def table(measured: list[Figures]) -> str:
    """Return the figures as a Markdown table."""
    names = [each.name for each in measured]
    lines = [
        f"| {measured[0].count:,} resources | to reach | {' | '.join(names)} |",
        "| --- | --- |" + " ---: |" * len(names),
    ]
    lines += [f"| {what} | {goal} | {' | '.join(shown(each) for each in measured)} |" for what, goal, shown in ROWS]
    return "\n".join(lines)


def render_plot(measured: Sequence[Figures]) -> str:
    """Return the plot over the number of resources, as SVG."""
    lines = []
    for name in dict.fromkeys(each.name for each in measured):
        of = sorted((each for each in measured if each.name == name), key=lambda each: each.count)
        lines.append(Line(f"{name}: created", [(each.count, each.created_s) for each in of]))
        lines.append(Line(f"{name}: restarted", [(each.count, each.restart_s) for each in of]))
    return plot("Until all Deployments exist, and until quiet after a restart", "resources", "seconds", lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--count", type=int, nargs="+", default=[1000], help="number of resources; one run for each value"
    )
    parser.add_argument("--edits", type=int, default=200, help="number of timed edits")
    parser.add_argument("--rest", type=float, default=120, help="seconds without changes in which writes are counted")
    parser.add_argument("--only", nargs="+", choices=tuple(ALL_STARTS), help="measure only these operators")
    parser.add_argument("--figures", type=Path, help="file of measurements; those of this run are appended")
    parser.add_argument(
        "--plot", type=Path, help="SVG file of the plot over the number of resources; with --figures, of all runs"
    )
    options = parser.parse_args()
    figures_file: Path | None = options.figures
    measured = (
        [Figures(**json.loads(line)) for line in figures_file.read_text().splitlines()]
        if figures_file and figures_file.exists()
        else []
    )
    for count in options.count:
        chosen = {name: start for name, start in ALL_STARTS.items() if name in (options.only or STARTS)}
        fresh = [asyncio.run(run(start, name, count, options.edits, options.rest)) for name, start in chosen.items()]
        print(f"{table(fresh)}\n", flush=True)
        measured += fresh
        if figures_file:
            figures_file.write_text("".join(f"{json.dumps(asdict(each))}\n" for each in measured))
    if options.plot:
        options.plot.write_text(render_plot(measured))


if __name__ == "__main__":
    main()
