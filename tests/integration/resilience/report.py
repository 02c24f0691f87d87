"""The table dependency x fault, as a page. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

INTRODUCTION = """\
# When something it stands on is gone

Written by `make resilience`: every dependency is killed, then slowed so that each answer takes five seconds more, while
callers write and recall. The table says what they saw of single attempts, without the client's retries; `back` is the
time from when the dependency answers again until every call does. The run fails when a write that was acknowledged or
its event is missing afterwards, or when anyone was let in without a token, or by an answer of Keycloak or OPA that is
older than its life. Lives are shorter here than by default: an identity is believed for {identity:g} s (default 60), a
decision of the policy for {policy:g} s (default 5). Each phase lasts {phase:g} s.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What callers saw of one method, of one dependency in one state."""

    dependency: str
    fault: str
    method: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Totals:
    """What is counted over the whole run."""

    acknowledged: int
    events: int
    lost_writes: int
    lost_events: int
    auth_bypasses: int


def page(rows: Sequence[Row], totals: Totals, *, identity_s: float, policy_s: float, phase_s: float) -> Iterator[str]:
    """Yield the page's lines."""
    yield INTRODUCTION.format(identity=identity_s, policy=policy_s, phase=phase_s)
    yield "| dependency | fault | call | what callers saw |"
    yield "| --- | --- | --- | --- |"
    for row in rows:
        yield f"| {row.dependency} | {row.fault} | {row.method} | {row.outcome} |"
    yield ""
    yield (
        f"{totals.acknowledged} writes were acknowledged, {totals.lost_writes} of them lost; {totals.events} events "
        f"came, {totals.lost_events} were lost; {totals.auth_bypasses} calls were let in that should not have been."
    )
