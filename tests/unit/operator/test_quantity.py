"""Quantities are compared by value, as Kubernetes does."""

from __future__ import annotations

from decimal import Decimal

import pytest

from somabrain_operator.api.v1alpha1.quantity import quantity_value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (1, "1"),
        ("1000m", "1"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("1Ki", "1024"),
        ("1Gi", "1073741824"),
        ("1024Mi", "1073741824"),
        ("1G", "1000000000"),
        ("1e3", "1000"),
        ("2E", "2000000000000000000"),
        ("1k", "1000"),
        ("100n", "0.0000001"),
        ("5u", "0.000005"),
    ],
)
def test_quantity_value(written: int | str, value: str) -> None:
    """Quantities are parsed as in k8s.io/apimachinery/pkg/api/resource.Quantity."""
    assert quantity_value(written) == Decimal(value)


@pytest.mark.parametrize("written", ["", "-1", "1x", "Gi", "1.2.3", "1 Gi", "1mi"])
def test_invalid_quantity_has_no_value(written: str) -> None:
    """An invalid quantity has no value, so it is not compared."""
    assert quantity_value(written) is None
