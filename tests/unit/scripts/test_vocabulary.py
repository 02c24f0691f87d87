"""Names and texts follow the glossary; a breach is reported with file, line and remedy."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from vocabulary.count import components, floors, report
from vocabulary.names import docstrings_of, names_of, words_of
from vocabulary.rules import banned, begun, phrased, read_rules

GLOSSARY = """
## Words that no name uses

| words | write |
| --- | --- |
| `told`, `tell` | publish |

## Phrases that no text uses

| phrases | write |
| --- | --- |
| `is none` | is not a ... |

## Words that no docstring begins with

| words | write |
| --- | --- |
| `What` | the noun |
"""
SOURCE = '''"""Whoever reads this."""
LIMIT = 1
"""The limit."""


class Relay:
    size: int
    """Its size."""

    def __init__(self) -> None:
        self.told = 0
        local = 1
'''


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ExpiringCache", ("expiring", "cache")),
        ("SOMABRAIN_SEARCH_INDEX__IDLE_S", ("somabrain", "search", "index", "idle", "s")),
        ("maxInputCharacters", ("max", "input", "characters")),
        ("HTTPServer2", ("http", "server")),
    ],
)
def test_words_of_splits_name(name: str, words: tuple[str, ...]) -> None:
    """A name is split at underscores and capitals, in upper, lower and mixed case."""
    assert words_of(name) == words


def test_names_and_docstrings_are_collected() -> None:
    """Names of modules, classes, functions, fields and constants are collected, and all docstrings; locals are not."""
    tree = ast.parse(SOURCE)
    names = {(name.kind, name.text) for name in names_of(Path("relaying.py"), tree)}
    assert names == {
        ("module", "relaying"),
        ("constant", "LIMIT"),
        ("class", "Relay"),
        ("field", "size"),
        ("function", "__init__"),
        ("field", "told"),
    }
    texts = {docstring.text for docstring in docstrings_of(Path("relaying.py"), tree)}
    assert texts == {"Whoever reads this.", "The limit.", "Its size."}


def test_breach_names_remedy() -> None:
    """Words are matched in names, and phrases in texts: across line ends and at the beginning of a docstring."""
    words, phrases = read_rules(GLOSSARY, "names"), read_rules(GLOSSARY, "texts")
    assert list(banned("a.py:3: field", "last_told", words)) == ["a.py:3: field `last_told` uses 'told'; write publish"]
    assert list(banned("a.py:3: field", "toldest", words)) == []
    assert list(phrased("a.py:1", "A URL that is\nnone.", phrases)) == ["a.py:1: says 'is none'; write is not a ..."]
    assert list(phrased("a.py:1", "`x is None`", phrases)) == []
    beginnings = read_rules(GLOSSARY, "beginnings")
    assert list(begun("a.py:1", "What it is.", beginnings)) == ["a.py:1: begins with 'What'; write the noun"]
    assert list(begun("a.py:1", "Whatever it is, and what for.", beginnings)) == []


def test_glossary_without_table_is_an_error() -> None:
    """A missing table is an error, since a check without rules would pass everything."""
    with pytest.raises(ValueError, match="has no table"):
        read_rules(GLOSSARY, "exceptions")


def test_floors_is_longest_import_chain() -> None:
    """Folders that import each other share one floor."""
    graph = {"cli": {"server"}, "server": {"store", "domain"}, "store": {"domain", "index"}, "index": {"store"}}
    assert sorted(map(sorted, components(graph))) == [["cli"], ["domain"], ["index", "store"], ["server"]]
    assert floors(graph) == 4


def test_report_counts_this_repository() -> None:
    """The report counts the requested words, in all four packages."""
    lines = list(report(Path(__file__).parents[3], ("namespace",)))
    assert any(line.split()[-1] == "namespace" and int(line.split()[0]) > 50 for line in lines)
    assert sum(line.startswith(("  common:", "  operator/", "  service/", "  client/")) for line in lines) == 4
