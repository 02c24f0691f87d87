"""Soak test of the operator: half an hour of edits, restarts and closed watches without growing memory, tasks or queue.

    make soak MINUTES=30

On a real API server on loopback, with bench/controllers.py for the writes of controllers and the kubelet. Resources are
continuously changed, deleted and created again, their Deployments edited manually and their Secrets rotated; the API
server is killed and restarted, and all connections of the operator are closed. Memory, tasks and queue depth are
sampled; the first third of the time is warm-up, and the medians of the last third may exceed those of the second by a
twentieth for memory, and by a twentieth and one for counts. At the end every resource must become Ready again.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.controllers import controllers
from bench.process import usage
from devcluster.loopback import api_server
from tests.integration.operator.api import Api, api_of
from tests.integration.operator.brains import NAME, Brain
from tests.integration.operator.chart import account_of, install
from tests.integration.operator.forwarder import Forwarder, forwarder
from tests.integration.operator.process import Operator, operator
from tests.support.waiting import eventually

RATIO = 1.05
COUNTS_MORE = 1
CONVERGED_S = 120.0
KEY = {"app-dsn": "postgresql://app@pg/s", "worker-dsn": "postgresql://w@pg/s"}


@dataclass(frozen=True)
class Sample:
    """Memory, tasks and queue depth of the operator at one moment."""

    after_s: float
    memory_mib: float
    tasks: float
    depth: float


@dataclass
class Report:
    """Results of a run."""

    minutes: float
    samples: list[Sample] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    converged_s: float = float("inf")

    def medians(self, third: int) -> dict[str, float]:
        """Return the medians of one third of the time, numbered from 0."""
        length_s = self.minutes * 60 / 3
        chosen = [each for each in self.samples if length_s * third <= each.after_s < length_s * (third + 1)]
        names = ("memory_mib", "tasks", "depth")
        return {name: statistics.median(getattr(each, name) for each in chosen) for name in names}

    def grown(self) -> list[str]:
        """Return a text for each quantity above its bound."""
        before, after = self.medians(1), self.medians(2)
        bounds = {name: value * RATIO + (0 if name == "memory_mib" else COUNTS_MORE) for name, value in before.items()}
        return [f"{name}: {after[name]:.1f} > {bounds[name]:.1f}" for name in bounds if after[name] > bounds[name]]

    def lines(self) -> Iterator[str]:
        """Yield the lines of the report."""
        yield f"{self.minutes:g} minutes; actions: " + ", ".join(f"{n} {what}" for what, n in self.done.items())
        for third, words in enumerate(("first third", "second third", "last third")):
            yield f"{words:<14}" + "".join(f"{name} {value:>8.1f}   " for name, value in self.medians(third).items())
        yield f"all resources Ready {self.converged_s:.1f} s after the last change"
        yield "grown: " + (", ".join(self.grown()) or "nothing")


class Soak:
    """One run of the soak test."""

    def __init__(self, api: Api, proxy: Forwarder, running: Operator, brains: int, seed: int) -> None:
        """Create the namespaces and their resources."""
        self.api, self.forwarder, self.operator = api, proxy, running
        self.random = random.Random(seed)
        self.brains = []
        for number in range(brains):
            api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"soak-{number}"}})
            brain = Brain(api, f"soak-{number}")
            brain.secrets()
            brain.apply()
            self.brains.append(brain)

    def run(self, minutes: float, sample_s: float, fault_s: float) -> Report:
        """Apply edits and faults until the time is over, then wait until all resources are Ready."""
        report, started = Report(minutes), time.monotonic()
        ends_at = started + minutes * 60
        next_sample, next_fault = started + sample_s, started + fault_s
        faults, edits = itertools.cycle((self.restart_api_server, self.cut_connections)), self.edits()
        while (now := time.monotonic()) < ends_at:
            if now >= next_sample:
                report.samples.append(self.sample(now - started))
                next_sample = now + sample_s
            if now >= next_fault:
                work = next(faults)
                next_fault = now + fault_s
            else:
                work = next(edits)
            work()
            report.done[work.__name__.replace("_", " ")] += 1
            time.sleep(0.2)
        over = time.monotonic()
        for brain in self.brains:
            self.wait_until_ready(brain)
        report.converged_s = time.monotonic() - over
        return report

    def edits(self) -> Iterator[Callable[[], None]]:
        """Yield the next edit, in shuffled rounds, so that even a short run includes each kind."""
        often = {self.scale: 10, self.limit: 6, self.edit_by_hand: 4, self.rotate: 3, self.recreate: 1}
        deck = [work for work, times in often.items() for _ in range(times)]
        while True:
            self.random.shuffle(deck)
            yield from deck

    def sample(self, after_s: float) -> Sample:
        metrics = self.operator.metrics()
        memory = usage(self.operator.process.pid).now_mib
        return Sample(after_s, memory, metrics["somabrain_operator_tasks"], metrics["somabrain_operator_queue_depth"])

    def pick_brain(self) -> Brain:
        return self.random.choice(self.brains)

    def scale(self) -> None:
        self.pick_brain().apply(replicas=self.random.randrange(1, 4))

    def limit(self) -> None:
        self.pick_brain().apply(resources={"limits": {"memory": f"{self.random.randrange(512, 2048)}Mi"}})

    def edit_by_hand(self) -> None:
        brain = self.pick_brain()
        edit = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "mine:1"}]
        if _names(self.api, brain):
            self.api.patch("Deployment", f"{NAME}-server", brain.namespace, edit)

    def rotate(self) -> None:
        self.pick_brain().rotate("somabrain-database", **{**KEY, "app-dsn": f"{KEY['app-dsn']}{self.random.random()}"})

    def recreate(self) -> None:
        brain = self.pick_brain()
        self.api.delete("SomaBrain", NAME, brain.namespace)
        brain.apply()

    def restart_api_server(self) -> None:
        self.api.server.process.restart()

    def cut_connections(self) -> None:
        self.forwarder.cut()

    def wait_until_ready(self, brain: Brain) -> None:
        """Wait until a resource is Ready in its newest generation."""
        eventually(
            brain.conditions,
            lambda conditions: "Ready" in conditions and conditions["Ready"]["status"] == "True",
            f"{brain.namespace} is Ready",
            CONVERGED_S,
        )


def _names(api: Api, brain: Brain) -> list[str]:
    return [each["metadata"]["name"] for each in api.objects("Deployment", brain.namespace)]


@contextmanager
def soaking(folder: Path, brains: int, seed: int) -> Iterator[Soak]:
    """Start all servers, and yield once all resources are Ready."""
    with api_server() as server, api_of(server) as api, forwarder(server.url) as proxy:
        install(api)
        account = account_of(api, folder)
        account.write_text(account.read_text().replace(server.url, proxy.url))
        with controllers(server, folder / "controllers.log"), operator(account, folder / "operator.log") as running:
            running.wait_until_started()
            soak = Soak(api, proxy, running, brains, seed)
            for brain in soak.brains:
                soak.wait_until_ready(brain)
            yield soak


def main() -> int:
    """Run the soak test, print the report, and return 1 if something has grown or the operator had an exception."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--brains", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="somabrain-soak-") as directory:
        folder = Path(directory)
        with soaking(folder, options.brains, options.seed) as soak:
            report = soak.run(options.minutes, sample_s=5, fault_s=45)
        log = (folder / "operator.log").read_text().splitlines()
    faults = [line for line in log if '"exception"' in line]
    for line in report.lines():
        print(line)
    for line in faults:
        print(f"exception in the operator: {line[:2000]}")
    return 1 if report.grown() or faults else 0


if __name__ == "__main__":
    sys.exit(main())
