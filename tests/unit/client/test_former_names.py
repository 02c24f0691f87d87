"""Programs written for the client of 0.1 keep working, and a warning names the replacement."""

from __future__ import annotations

import importlib

import grpc
import pytest

import somabrain_client
from somabrain_client import errors
from somabrain_client.former_names import ERRORS, EXPORTS


@pytest.mark.parametrize(
    ("module", "former", "present"),
    [("somabrain_client", *names) for names in EXPORTS.items()]
    + [("somabrain_client.errors", *names) for names in ERRORS.items()],
)
def test_former_name_resolves_with_deprecation_warning(module: str, former: str, present: str) -> None:
    """A former name is the same object, with a warning that names the present one at the caller's line."""
    with pytest.warns(DeprecationWarning, match=f"{former} is called .*{present} now") as caught:
        value = getattr(importlib.import_module(module), former)
    assert value is getattr(importlib.import_module(module), present)
    assert caught[0].filename == __file__


def test_error_details_are_available_under_former_name() -> None:
    """An error has its details under the former name as well, with a warning."""
    error = errors.CallError(grpc.StatusCode.ABORTED, "An etag is not the current one.", errors.ErrorDetails("ABORTED"))
    with pytest.warns(DeprecationWarning, match="explanation is called CallError.details") as caught:
        assert error.explanation is error.details
    assert caught[0].filename == __file__


def test_unknown_name_raises_attribute_error() -> None:
    """An unknown name raises the usual AttributeError, from both modules."""
    for module in (somabrain_client, errors):
        with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
            _ = getattr(module, "Nonsense")  # noqa: B009
