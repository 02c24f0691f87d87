"""Holds names and texts to docs/glossary.md, which is read and not repeated here.

    python -m vocabulary check

Names are modules, classes, functions, fields and constants of the sources, settings, metrics and fields of the
resource. Locals and the names of tests, which are sentences, are free.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry

from common.config.settings import PREFIX, variable_names
from somabrain_client.mcp.metrics import Metrics as McpMetrics
from somabrain_operator.metrics import Metrics as OperatorMetrics
from somabrain_service.metrics import FORMER_FAMILIES
from somabrain_service.metrics import Metrics as ServiceMetrics
from vocabulary.names import FOLDERS, docstrings_of, names_of, sources, words_of

Rules = Mapping[str, str]
"""Replacement of each word or phrase."""

_HEADINGS = {
    "names": "## Words that no name uses",
    "exceptions": "## Names that keep such a word",
    "texts": "## Phrases that no text uses",
    "beginnings": "## Words that no docstring begins with",
}


def check(root: Path) -> Iterator[str]:
    """Yield every breach of the glossary, a line each."""
    glossary = (root / "docs" / "glossary.md").read_text()
    words, phrases = read_rules(glossary, "names"), read_rules(glossary, "texts")
    exceptions, beginnings = read_rules(glossary, "exceptions"), read_rules(glossary, "beginnings")
    for path in sources(root, FOLDERS):
        tree = ast.parse(path.read_text())
        where = path.relative_to(root)
        for name in names_of(path, tree):
            is_test = where.parts[0] == "tests" and name.kind in {"function", "constant"}
            if not is_test and name.text not in exceptions:
                yield from banned(f"{where}:{name.line}: {name.kind}", name.text, words)
        texts = [(each.line, each.text) for each in docstrings_of(path, tree)]
        for line, text in texts:
            yield from begun(f"{where}:{line}", text, beginnings)
        if where.parts[0] != "tests":
            texts += list(_messages(tree))
        for line, text in texts:
            yield from phrased(f"{where}:{line}", text, phrases)
    for setting in variable_names():
        yield from banned("setting", setting.removeprefix(PREFIX), words)
    for registry in (ServiceMetrics().registry, OperatorMetrics().registry, McpMetrics().registry):
        for family in _families(registry):
            yield from banned("metric", family, words)
    for crd in sorted((root / "crds").glob("*.yaml")):
        for field in _fields(yaml.safe_load(crd.read_text())):
            yield from banned(f"{crd.name}: field", field, words)
    for page in (root / "README.md", *sorted((root / "docs").glob("*.md"))):
        if page.name != "glossary.md":
            for line, text in enumerate(page.read_text().splitlines(), start=1):
                yield from phrased(f"{page.relative_to(root)}:{line}", text, phrases)


def read_rules(glossary: str, kind: str) -> Rules:
    """Return a table of the glossary: each word or phrase of its first column with what the second says to write.

    Raises:
        ValueError: the glossary has no such table; a check that reads no rule would pass everything.
    """
    _, _, section = glossary.partition(_HEADINGS[kind])
    rows = re.findall(r"^\| (`.+?) \| (.+?) \|$", section.partition("\n## ")[0], re.MULTILINE)
    rules = {word: write for words, write in rows for word in re.findall(r"`([^`]+)`", words)}
    if not rules:
        raise ValueError(f"docs/glossary.md has no table under {_HEADINGS[kind]!r}")
    return rules


def banned(where: str, name: str, words: Rules) -> Iterator[str]:
    """Yield a line for each word of a name that the glossary keeps out of names."""
    for word in words_of(name):
        if word in words:
            yield f"{where} `{name}` uses {word!r}; write {words[word]}"


def phrased(where: str, text: str, phrases: Rules) -> Iterator[str]:
    """Yield a line for each phrase in a text that the glossary keeps out of texts."""
    plain = " ".join(text.split())
    for phrase, write in phrases.items():
        if re.search(rf"\b({re.escape(phrase)}|{re.escape(phrase.capitalize())})\b", plain):  # `is None` is code
            yield f"{where}: says {phrase!r}; write {write}"


def begun(where: str, docstring: str, beginnings: Rules) -> Iterator[str]:
    """Yield a line if a docstring begins with a word of the glossary."""
    first = re.match(r"\w*", docstring)
    if first and first[0] in beginnings:
        yield f"{where}: begins with {first[0]!r}; write {beginnings[first[0]]}"


def _messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the literal text of strings that are no docstrings: errors, log events, help."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def _families(registry: CollectorRegistry) -> Iterable[str]:
    return sorted(family.name for family in registry.collect() if family.name not in FORMER_FAMILIES)


def _fields(schema: object) -> Iterator[str]:
    """Yield the fields of an OpenAPI schema that are not deprecated."""
    if isinstance(schema, dict):
        for name, value in (schema.get("properties") or {}).items():
            if not (isinstance(value, dict) and str(value.get("description", "")).startswith("Deprecated")):
                yield name
        for value in schema.values():
            yield from _fields(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _fields(value)
