"""Drift of live children from their manifests, without what the spec accepts of other controllers."""

from __future__ import annotations

from somabrain_operator.diff.foreign import drift
from somabrain_operator.diff.subset import Difference, format_path
from somabrain_operator.kube.objects import Manifest, text
from somabrain_operator.plan.plan import Plan


def reverted_drift(plan: Plan, manifest: Manifest, live: Manifest) -> tuple[Difference, ...]:
    """Return the differences of a live child that are put back: those that spec.ignoreDifferences does not name."""
    spec = plan.observed.brain.spec
    ignored = (spec.ignore_differences if spec else None) or ()
    return tuple(each for each in drift(manifest, live) if not _is_ignored(text(manifest, "kind"), each, ignored))


def _is_ignored(kind: str, difference: Difference, ignored: tuple[str, ...]) -> bool:
    named = f"{kind} {format_path(difference.path)}"
    return any(named == each or named.startswith((f"{each}.", f"{each}[")) for each in ignored)
