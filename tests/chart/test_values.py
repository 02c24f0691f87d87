"""Every value of every chart has a comment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.chart.conftest import CHARTS


def unexplained(text: str) -> Iterator[str]:
    """Yield the path of each value without a comment above or beside it or its group."""
    lines = text.splitlines()

    def commented(line: int) -> bool:
        return " #" in lines[line] or (line > 0 and lines[line - 1].lstrip().startswith("#"))

    def walk(node: yaml.MappingNode, path: str, explained: bool) -> Iterator[str]:
        for key, value in node.value:
            value_path, has_comment = f"{path}.{key.value}".lstrip("."), commented(key.start_mark.line)
            if isinstance(value, yaml.MappingNode) and not value.flow_style:
                yield from walk(value, value_path, has_comment and path != "")
            elif not (has_comment or explained):
                yield value_path

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    yield from walk(root, "", explained=False)


def test_value_without_comment_is_detected() -> None:
    """The check below detects a value without a comment."""
    assert list(unexplained("# comment\na: 1\nb: 2\nc:\n  # comment\n  d: 3\n  e: 4\n")) == ["b", "c.e"]


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_every_value_has_a_comment(chart: Path) -> None:
    """Each value in values.yaml has a comment that describes it."""
    assert list(unexplained((chart / "values.yaml").read_text())) == []
