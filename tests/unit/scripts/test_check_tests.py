"""Tests that modify the product from outside, or import another test, are reported with the remedy."""

from __future__ import annotations

import ast

import pytest

from check_tests import HELPER, PARAMETER, breaches_of

OWN = """
import json
from pathlib import Path

from tests.support.clones import Clone
from tests.integration.store.tables import counted_exactly
from tests.lifecycle import conftest


class Stub:
    def __init__(self, monkeypatch):
        self.size = 1
        setattr(self, "size", 2)
        monkeypatch.setenv("SIZE", "3")


message = json.loads("{}")
message.size = 4
setattr(message, "size", 5)
"""


@pytest.mark.parametrize(
    ("source", "breach"),
    [
        ('monkeypatch.setattr("a.b.SIZE", 1)', f"1: setattr on the product; {PARAMETER}"),
        ("patch.delattr(a, 'SIZE')", f"1: delattr on the product; {PARAMETER}"),
        ("import a\na.SIZE = 1", f"2: sets `a.SIZE`, which is imported; {PARAMETER}"),
        ("from a import b as c\nc.SIZE += 1", f"2: sets `c.SIZE`, which is imported; {PARAMETER}"),
        ("from a import b\nsetattr(b, 'SIZE', 1)", f"2: setattr on the imported `b`; {PARAMETER}"),
        ("from tests.a.test_b import c", f"1: imports `tests.a.test_b`, another test; {HELPER}"),
        ("from tests.a import test_b as b", f"1: imports `tests.a.test_b`, another test; {HELPER}"),
        ("import tests.a.test_b", f"1: imports `tests.a.test_b`, another test; {HELPER}"),
        ("from . import test_b", f"1: imports `.test_b`, another test; {HELPER}"),
    ],
)
def test_breach_has_line_and_remedy(source: str, breach: str) -> None:
    """Every way to set an imported name, and every form of import, is reported."""
    assert list(breaches_of(ast.parse(source))) == [breach]


def test_own_objects_may_be_modified() -> None:
    """A test may set its own objects and the environment, and import modules that are not tests."""
    assert list(breaches_of(ast.parse(OWN))) == []
