"""False statements of a status, and how long each lived. Opens no socket."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass, field

from examples.kubectl import Object
from somabrain_operator.kube.objects import condition, mapping, number, text

LONGEST_S = 5.0
STEPS_S = (0.25, 0.5, 1, 2, LONGEST_S, float("inf"))
NEVER = "Ready=True of an earlier generation than the status has seen"


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The API server's state: the resource, its Deployment, the failed Jobs, and the names of Secrets."""

    resource: Object
    deployment: Object | None
    failed_jobs: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()


def false_statements(world: ClusterState) -> Iterator[str]:
    """Yield each statement of the status that contradicts the cluster's state."""
    resource, deployment = world.resource, world.deployment
    status, generation = mapping(resource, "status"), number(resource, "metadata", "generation")
    ready = number(deployment, "status", "readyReplicas")

    def current_status(kind: str) -> str:
        """Return the status of a condition if it is about the newest generation, and otherwise ""."""
        entry = condition(resource, kind)
        return text(entry, "status") if number(entry, "observedGeneration") == generation else ""

    ready_condition = condition(resource, "Ready")
    if text(ready_condition, "status") == "True" and number(ready_condition, "observedGeneration") != number(
        status, "observedGeneration"
    ):
        yield NEVER
    if text(ready_condition, "status") == "True" and not current_status("Ready"):
        yield "Ready=True, and of an earlier generation"
    if status.get("observedGeneration") == generation and status.get("readyReplicas", 0) != ready:
        yield "readyReplicas"
    if current_status("Available") == "True" and not ready:
        yield "Available=True, and no pod serves"
    if current_status("Available") == "False" and ready:
        yield "Available=False, and pods serve"
    secrets_exist = set(_secret_names(resource)) <= world.secrets
    if current_status("ReferencesResolved") == "True" and not secrets_exist:
        yield "ReferencesResolved=True, and a Secret is not there"
    if current_status("ReferencesResolved") == "False" and secrets_exist:
        yield "ReferencesResolved=False, and all Secrets are there"
    if current_status("Migrated") == "True" and text(status, "migration", "jobName") in world.failed_jobs:
        yield "Migrated=True, and its Job failed"
    settled = number(deployment, "status", "observedGeneration") == number(deployment, "metadata", "generation")
    if current_status("Ready") == "True" and not (ready == number(resource, "spec", "replicas") and settled):
        yield "Ready=True, and it is not"


def _secret_names(resource: Object) -> Iterator[str]:
    """Yield the names of the database Secrets of the resource."""
    yield text(resource, "spec", "database", "secretRef", "name")
    if owner := text(resource, "spec", "migration", "database", "secretRef", "name"):
        yield owner


@dataclass
class StatementLifetimes:
    """Time for which each statement was false: from the first observation with it to the first without.

    Time without the API server does not count: the operator could not have observed or reported anything.
    """

    ended: list[tuple[float, str]] = field(default_factory=list)
    ongoing: dict[str, float] = field(default_factory=dict)
    _at: float | None = None

    def observe(self, current: Set[str], now: float) -> None:
        """Record the statements that are false at the time `now`."""
        passed = 0.0 if self._at is None else now - self._at
        aged = {words: lived + passed for words, lived in self.ongoing.items()}
        self.ended += [(lived, words) for words, lived in aged.items() if words not in current]
        self.ongoing = {words: aged.get(words, 0.0) for words in current}
        self._at = now

    def pause(self) -> None:
        """Stop the clock until the next observation."""
        self._at = None

    def all(self) -> list[tuple[float, str]]:
        """All false statements, the longest first."""
        return sorted([*self.ended, *((lived, words) for words, lived in self.ongoing.items())], reverse=True)

    def failures(self) -> list[str]:
        """The statements that were false for longer than allowed."""
        return [f"{words}: {lived:.1f} s" for lived, words in self.all() if lived > LONGEST_S or words == NEVER]

    def histogram(self) -> list[str]:
        """The number of statements by how long they were false, and the longest of each kind."""
        counts = Counter(next(step for step in STEPS_S if lived <= step) for lived, _ in self.all())
        longest: dict[str, float] = {}
        for lived, words in self.all():
            longest.setdefault(words, lived)
        steps = [f"≤ {step:4g} s  {counts[step]:3}  {'#' * counts[step]}".rstrip() for step in STEPS_S]
        return [*steps, *(f"longest {lived:.1f} s: {words}" for words, lived in longest.items())]
