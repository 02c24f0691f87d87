"""The order in which the chaos test injects its faults."""

from __future__ import annotations

from pathlib import Path

from examples.kubectl import Kubectl
from tests.e2e.support.brains import Brain
from tests.e2e.support.chaos import Chaos
from tests.e2e.support.faults import SHORT, Faults

KUBECTL = Kubectl(Path("no-such-file"))
FAULTS = Faults(Brain(KUBECTL, "", ""), Chaos(KUBECTL, "", ""), KUBECTL)


def test_fault_order_is_deterministic_per_seed() -> None:
    assert FAULTS.order(7) == FAULTS.order(7)
    assert len({tuple(FAULTS.order(seed)) for seed in range(20)}) > 10


def test_fault_order_contains_each_fault_once() -> None:
    assert sorted(FAULTS.order(1)) == sorted(FAULTS.by_name())
    assert len(FAULTS.by_name()) == 8
    assert sorted(FAULTS.order(1, SHORT)) == sorted(SHORT)
