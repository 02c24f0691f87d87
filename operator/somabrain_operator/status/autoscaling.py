"""Failures of the autoscaler."""

from __future__ import annotations

from somabrain_operator.kube.objects import Manifest, condition, text


def autoscaler_failure(autoscaler: Manifest | None) -> str:
    """Return why an autoscaler does not scale, as its controller says; empty if it does or does not exist.

    One that is disabled because its target has no replicas is not a failure.
    """
    scaling_active = condition(autoscaler, "ScalingActive")
    if text(scaling_active, "status") != "False" or text(scaling_active, "reason") == "ScalingDisabled":
        return ""
    name, message = (
        text(autoscaler, "metadata", "name"),
        text(scaling_active, "message") or text(scaling_active, "reason"),
    )
    return f"HorizontalPodAutoscaler {name} does not scale: {message.rstrip('.')}. The number of pods stays as it is."
