"""The names and docstrings of Python sources, read from their syntax trees; nothing is imported or run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

PACKAGES = ("common", "operator/somabrain_operator", "service/somabrain_service", "client/somabrain_client")
FOLDERS = (*PACKAGES, "devcluster", "scripts", "bench", "examples", "migrations", "tests")
GENERATED = ("proto/gen", ".venv", "__pycache__")

Kind: TypeAlias = Literal["module", "class", "function", "field", "constant"]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DOCUMENTED = (ast.Module, ast.ClassDef, *_FUNCTIONS)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(frozen=True, slots=True)
class Name:
    """A name that a source defines."""

    path: Path
    line: int
    kind: Kind
    text: str

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the name in lower case: `ExpiringCache` and `expiring_cache` have the same two."""
        return words_of(self.text)


@dataclass(frozen=True, slots=True)
class Docstring:
    """A docstring of a module, class, function or field."""

    path: Path
    line: int
    text: str


def words_of(name: str) -> tuple[str, ...]:
    """Split a name at underscores, hyphens and capitals, into lower case."""
    return tuple(word.lower() for word in _WORD.findall(name))


def sources(root: Path, folders: tuple[str, ...]) -> Iterator[Path]:
    """Yield the Python sources in folders of a checkout, generated ones left out."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            if not any(part in path.as_posix() for part in GENERATED):
                yield path


def names_of(path: Path, tree: ast.Module) -> Iterator[Name]:
    """Yield the names that a module defines: its own, classes, functions, fields and constants; no locals."""
    package = path.name == "__init__.py"
    yield Name(path, 1, "module", path.parent.name if package else path.stem)
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef():
                yield Name(path, node.lineno, "class", node.name)
                for statement in node.body:
                    yield from (Name(path, statement.lineno, "field", each) for each in _assigned(statement))
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield Name(path, node.lineno, "function", node.name)
            case ast.Attribute(value=ast.Name(id="self"), ctx=ast.Store()):
                yield Name(path, node.lineno, "field", node.attr)
    for statement in tree.body:
        yield from (Name(path, statement.lineno, "constant", each) for each in _assigned(statement))


def _assigned(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.Assign(targets=targets):
            for node in (node for target in targets for node in ast.walk(target)):
                if isinstance(node, ast.Name):
                    yield node.id


def docstrings_of(path: Path, tree: ast.Module) -> Iterator[Docstring]:
    """Yield the docstrings of a module, those of fields among them: a string below an assignment."""
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED):
            for before, statement in zip([None, *node.body], node.body, strict=False):
                own = before is None
                below = isinstance(node, ast.Module | ast.ClassDef) and isinstance(before, ast.Assign | ast.AnnAssign)
                match statement:
                    case ast.Expr(value=ast.Constant(value=str(text))) if own or below:
                        yield Docstring(path, statement.lineno, text)
