"""Evaluation of label selectors, as the API server evaluates those of apps/v1 and policy/v1."""

from __future__ import annotations

from collections.abc import Mapping

from somabrain_operator.kube.objects import Json, items, mapping, text


def selects(selector: Json, labels: Mapping[str, Json]) -> bool:
    """Return whether a LabelSelector selects an object with these labels.

    An empty selector selects everything, one that is not set selects nothing, and an unknown operator selects nothing.
    """
    if not isinstance(selector, Mapping):
        return False
    wanted = mapping(selector, "matchLabels")
    return all(labels.get(name) == value for name, value in wanted.items()) and all(
        _fits(each, labels) for each in items(selector, "matchExpressions")
    )


def _fits(requirement: Json, labels: Mapping[str, Json]) -> bool:
    name, values = text(requirement, "key"), items(requirement, "values")
    match text(requirement, "operator"):
        case "In":
            return labels.get(name) in values
        case "NotIn":
            return labels.get(name) not in values
        case "Exists":
            return name in labels
        case "DoesNotExist":
            return name not in labels
        case _:
            return False
