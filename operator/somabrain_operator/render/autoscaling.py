"""HorizontalPodAutoscaler, and the `replicas` with which the Deployment is applied beside it."""

from __future__ import annotations

from collections.abc import Iterable

from somabrain_operator.api.v1alpha1.autoscaling import Autoscaling
from somabrain_operator.kube import names
from somabrain_operator.kube.objects import Manifest, items, mapping, number, text
from somabrain_operator.kube.owner import Owner
from somabrain_operator.render.metadata import render_object


def render_autoscaler(owner: Owner, autoscaling: Autoscaling) -> Manifest:
    """Return the autoscaler; it measures the server only and not its side-cars, whose use does not grow with load."""
    return render_object(
        owner,
        names.SERVER,
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        {
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": owner.child(names.SERVER)},
                "minReplicas": autoscaling.min,
                "maxReplicas": autoscaling.max,
                "metrics": [
                    {
                        "type": "ContainerResource",
                        "containerResource": {
                            "name": "cpu",
                            "container": names.SERVER,
                            "target": {"type": "Utilization", "averageUtilization": autoscaling.cpu},
                        },
                    }
                ],
            }
        },
    )


def replica_bounds(manifests: Iterable[Manifest]) -> tuple[int, int] | None:
    """Return the minimum and maximum of pods of the autoscaler among rendered objects; None: there is no autoscaler."""
    autoscaler = next((each for each in manifests if text(each, "kind") == "HorizontalPodAutoscaler"), None)
    return (
        (number(autoscaler, "spec", "minReplicas"), number(autoscaler, "spec", "maxReplicas")) if autoscaler else None
    )


def desired_replicas(spec_replicas: int, bounds: tuple[int, int] | None, live: Manifest | None) -> int | None:
    """Return the `replicas` that the Deployment is applied with; None: the field is the autoscaler's.

    An autoscaler owns the field only once it has scaled. Left out before that, the field falls back to 1, so until then
    its live value is applied. At 0 an autoscaler is disabled for good, so 0 is never left to it.

    Args:
        spec_replicas: the value of `spec.replicas`.
        bounds: minimum and maximum of the autoscaler; None: there is no autoscaler.
        live: the live Deployment, if it exists.
    """
    if bounds is None:
        return spec_replicas
    live_replicas = number(live, "spec", "replicas") if live is not None else 0
    if not live_replicas:
        return min(max(spec_replicas, bounds[0]), bounds[1])
    return None if live is not None and _is_scaled_externally(live) else live_replicas


def _is_scaled_externally(live: Manifest) -> bool:
    """Return whether `replicas` was set through the scale subresource, as autoscalers do."""
    return any(
        text(entry, "subresource") == "scale" and "f:replicas" in mapping(entry, "fieldsV1", "f:spec")
        for entry in items(live, "metadata", "managedFields")
    )
