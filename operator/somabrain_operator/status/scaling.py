"""Whether the autoscaler scales."""

from __future__ import annotations

from somabrain_operator.tree import Manifest, condition, text


def not_scaling(autoscaler: Manifest | None) -> str:
    """Return why an autoscaler does not scale, as its controller says; empty: it does, or there is none.

    One that is switched off, because what it scales has no replicas, is no fault.
    """
    said = condition(autoscaler, "ScalingActive")
    if text(said, "status") != "False" or text(said, "reason") == "ScalingDisabled":
        return ""
    name, message = text(autoscaler, "metadata", "name"), text(said, "message") or text(said, "reason")
    return f"HorizontalPodAutoscaler {name} does not scale: {message.rstrip('.')}. The number of pods stays as it is."
