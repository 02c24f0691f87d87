"""Check that tests change nothing of the product from outside, and that no test module imports another.

    python scripts/check_tests.py

What a test needs smaller or shorter is a parameter, with the product's value as default. What several test modules
share is in a module beside them that is not a test.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from vocabulary.names import sources

ROOT = Path(__file__).parents[1]
PARAMETER = "make it a parameter of the product, with today's value as default, and pass it"
HELPER = "move what they share to a module beside them that is not a test"


def main() -> int:
    """Print every breach, a line each."""
    breaches = [
        f"{path.relative_to(ROOT)}:{breach}"
        for path in sources(ROOT, ("tests",))
        for breach in breaches_of(ast.parse(path.read_text()))
    ]
    print("\n".join(breaches) or "tests: each sets only what is its own")
    return 1 if breaches else 0


def breaches_of(tree: ast.Module) -> Iterator[str]:
    """Yield every breach of a module: its line, and what to do instead."""
    imported = set(_imported_names(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="setattr" | "delattr" as verb)):
                yield f"{node.lineno}: {verb} on the product; {PARAMETER}"
            case ast.Call(func=ast.Name(id="setattr" | "delattr" as verb), args=[ast.Name(id=name), *_]):
                if name in imported:
                    yield f"{node.lineno}: {verb} on the imported `{name}`; {PARAMETER}"
            case ast.Attribute(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()) if name in imported:
                yield f"{node.lineno}: sets `{name}.{node.attr}`, which is imported; {PARAMETER}"
            case ast.Import() | ast.ImportFrom():
                for module in _modules(node):
                    if any(part.startswith("test_") for part in module.split(".")):
                        yield f"{node.lineno}: imports `{module}`, another test; {HELPER}"


def _imported_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that imports bind."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0]


def _modules(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Yield what an import may name as a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif (node.module or "").rpartition(".")[2].startswith("test_"):
        yield node.module or ""
    else:
        yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


if __name__ == "__main__":
    sys.exit(main())
