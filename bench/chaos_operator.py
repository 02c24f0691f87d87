"""Faults in an order drawn from a seed, and how long the status of a resource says what is not so.

    make chaos SEED=1

On a real API server on loopback, with bench/controllers.py for what controllers and the kubelet write; nothing runs in
the pods, so no calls are made here. Each fault ends when the resource is Ready again in its newest generation. All the
while the status is held against what the API server shows, ten times a second: a statement that is not so and lives
longer than five seconds is a failure, as is a fault after which the resource does not become Ready.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from lightkube.core.exceptions import ApiError

from bench.controllers import controllers
from somabrain_local.loopback import api_server
from somabrain_operator.tree import condition, number, text
from tests.integration.operator.api import Api, Object, api_of, eventually
from tests.integration.operator.brains import NAME, Brain
from tests.integration.operator.chart import account_of, install
from tests.integration.operator.forwarder import Forwarder, forwarder
from tests.integration.operator.process import Operator, operator

LONGEST_S = 5.0
LOOK_S = 0.1
CONVERGED_S = 120.0
STEPS_S = (0.25, 0.5, 1, 2, 5)
SECRET = "somabrain-database"
IDENTITY = {"SOMABRAIN_OPERATOR__IDENTITY": "the-pod"}
"""A container that is started anew in its pod has the pod's name again, and so its Lease."""


def untrue(resource: Object, deployment: Object | None, secrets: frozenset[str]) -> Iterator[str]:
    """Yield what a status says that is not so, as far as it speaks of the newest generation."""
    status, generation = resource.get("status", {}), resource["metadata"]["generation"]
    ready = number(deployment, "status", "readyReplicas")

    def says(kind: str) -> str:
        found = condition(resource, kind)
        return text(found, "status") if number(found, "observedGeneration") == generation else ""

    if status.get("observedGeneration") == generation and status.get("readyReplicas", 0) != ready:
        yield "readyReplicas"
    if says("Available") == "True" and not ready:
        yield "Available=True, and no pod serves"
    if says("Available") == "False" and ready:
        yield "Available=False, and pods serve"
    if says("ReferencesResolved") == "True" and SECRET not in secrets:
        yield "ReferencesResolved=True, and the Secret is not there"
    if says("ReferencesResolved") == "False" and SECRET in secrets:
        yield "ReferencesResolved=False, and the Secret is there"
    wanted = number(resource, "spec", "replicas")
    settled = number(deployment, "status", "observedGeneration") == number(deployment, "metadata", "generation")
    if says("Ready") == "True" and not (ready == wanted and settled):
        yield "Ready=True, and it is not"


@dataclass
class Truth:
    """Holds the status against what is so, and keeps for how long each statement was not."""

    brain: Brain
    lived_s: list[tuple[float, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Look until it is over; what cannot be seen is not judged."""
        since: dict[str, float] = {}
        api, where = self.brain.api, self.brain.namespace
        while not self.over.wait(LOOK_S):
            try:
                secrets = frozenset(each["metadata"]["name"] for each in api.objects("Secret", where))
                deployments = api.objects("Deployment", where)
                found = set(untrue(self.brain.resource(), deployments[0] if deployments else None, secrets))
            except (KeyError, OSError, ApiError, RuntimeError):
                since.clear()
                continue
            except Exception as error:
                if not type(error).__module__.startswith("httpx2"):
                    raise
                since.clear()
                continue
            now = time.monotonic()
            self.lived_s += [(now - since.pop(words), words) for words in list(since) if words not in found]
            for words in found:
                since.setdefault(words, now)
        self.lived_s += [(time.monotonic() - began, words) for words, began in since.items()]

    def histogram(self) -> str:
        """How many lived how long."""
        counts = Counter(next((step for step in STEPS_S if lived <= step), float("inf")) for lived, _ in self.lived_s)
        return "   ".join(f"≤ {step:g} s: {counts[step]}" for step in (*STEPS_S, float("inf")))


class Chaos:
    """One resource, and what is done to it."""

    def __init__(self, api: Api, between: Forwarder, account: Path, folder: Path) -> None:
        """Make the resource, with an operator at work."""
        self.api, self.between, self.account, self.folder = api, between, account, folder
        self.stack = ExitStack()
        self.starts = 0
        self.start()
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "chaos"}})
        self.brain = Brain(api, "chaos")
        self.brain.secrets()
        self.brain.apply(replicas=2)
        self.converge()

    def start(self) -> None:
        """Start an operator."""
        self.starts += 1
        log = self.folder / f"operator-{self.starts}.log"
        self.running: Operator = self.stack.enter_context(operator(self.account, log, **IDENTITY))
        self.running.wait_until_started()

    def converge(self) -> float:
        """Wait until the resource is Ready in its newest generation; return how long it took."""
        started = time.monotonic()
        eventually(
            lambda: self.brain.conditions()["Ready"], lambda found: found["status"] == "True", "Ready", CONVERGED_S
        )
        return time.monotonic() - started

    def api_server_restart(self) -> None:
        self.api.server.program.restart()

    def watch_cut(self) -> None:
        self.between.cut()
        self.brain.apply(replicas=3)
        eventually(lambda: self.brain.deployment()["spec"]["replicas"], lambda found: found == 3, "3 replicas")
        self.brain.apply(replicas=2)

    def operator_killed_mid_step(self) -> None:
        self.brain.apply(resources={"limits": {"memory": "900Mi"}})
        self.running.process.kill()
        self.running.process.wait()
        self.start()

    def secret_deleted(self) -> None:
        kept = self.api.get("Secret", SECRET, self.brain.namespace)["data"]
        self.api.delete("Secret", SECRET, self.brain.namespace)
        self.brain.until("ReferencesResolved", "False", SECRET, CONVERGED_S)
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": kept}
        self.api.create(manifest, self.brain.namespace)

    def job_deleted(self) -> None:
        self.brain.apply(image="registry.example/brain:other")
        with suppress(ApiError):
            self.api.delete("Job", self.brain.job(image="registry.example/brain:other")["metadata"]["name"], "chaos")

    def deployment_edited_by_hand(self) -> None:
        edit = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "mine:1"}]
        self.api.patch("Deployment", f"{NAME}-server", self.brain.namespace, edit)
        eventually(self.brain.containers, lambda found: found != ["server mine:1"], "it is put back")

    def image_that_never_starts(self) -> None:
        before = self.brain.resource()["spec"]["migration"]
        self.brain.apply(image="registry.example/brain:never", migration={"enabled": False, "database": None})
        self.brain.until("Degraded", "True", "cannot be pulled", CONVERGED_S)
        self.brain.apply(image="registry.example/brain:mended", migration=before)

    def migration_that_fails_twice(self) -> None:
        self.brain.apply(image="registry.example/brain:fails-twice")
        self.brain.until("Migrated", "False", "Attempt 2 failed", CONVERGED_S)

    def faults(self) -> Mapping[str, Callable[[], None]]:
        """All of them, by name."""
        each = (self.api_server_restart, self.watch_cut, self.operator_killed_mid_step, self.secret_deleted,
                self.job_deleted, self.deployment_edited_by_hand, self.image_that_never_starts,
                self.migration_that_fails_twice)  # fmt: skip
        return {work.__name__.replace("_", " "): work for work in each}


@contextmanager
def world(folder: Path) -> Iterator[Chaos]:
    """Start everything."""
    with api_server() as server, api_of(server) as api, forwarder(server.url) as between:
        install(api)
        account = account_of(api, folder)
        account.write_text(account.read_text().replace(server.url, between.url))
        with controllers(server, folder / "controllers.log"):
            chaos = Chaos(api, between, account, folder)
            with chaos.stack:
                yield chaos


def run(folder: Path, seed: int, chosen: tuple[str, ...] = (), say: Callable[[str], None] = print) -> list[str]:
    """Do it; return what failed, in words."""
    with world(folder) as chaos:
        truth = Truth(chaos.brain)
        watcher = threading.Thread(target=truth.watch)
        watcher.start()
        try:
            faults = chaos.faults()
            order = [name for name in faults if name in (chosen or faults)]
            random.Random(seed).shuffle(order)
            for name in order:
                faults[name]()
                say(f"{name:<28} Ready again after {chaos.converge():5.1f} s")
        finally:
            truth.over.set()
            watcher.join()
    say(f"statements that were not so, by how long they lived: {truth.histogram()}")
    return [f"{words} lived {lived:.1f} s" for lived, words in truth.lived_s if lived > LONGEST_S]


def main() -> int:
    """Run it, and fail when a false statement lived too long."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="somabrain-chaos-") as place:
        failures = run(Path(place), options.seed)
    for each in failures:
        print(each)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
