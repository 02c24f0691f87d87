"""The table of dependencies and faults, as a page. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

INTRODUCTION = """\
# Resilience: behaviour when a dependency fails

Written by `make resilience`: every dependency is killed, then slowed so that each answer takes five seconds more, while
callers call Remember and Recall. The table shows the outcome of single attempts, without the client's retries; `back`
is the time from the dependency's recovery until every call succeeds again. The run fails when an acknowledged write or
its event is missing afterwards, or when a call is admitted without a valid token, or by an answer of Keycloak or OPA
past its cache lifetime. Cache lifetimes are shorter than the defaults: an identity is cached for {identity:g} s
(default 60), a decision of the policy for {policy:g} s (default 5). Each phase lasts {phase:g} s.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """The outcome of one method during one fault of one dependency."""

    dependency: str
    fault: str
    method: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of the whole run."""

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
        f"{totals.acknowledged} writes were acknowledged, {totals.lost_writes} of them lost; {totals.events} "
        f"events were received, {totals.lost_events} were lost; "
        f"{totals.auth_bypasses} calls were admitted without authorization."
    )
