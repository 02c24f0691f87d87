"""Counts what a checkout is written in, to compare two of them: no rule, only figures.

python -m vocabulary count [--root CHECKOUT] [--word WORD]...
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from vocabulary.names import FOLDERS, PACKAGES, docstrings_of, names_of, sources

Graph = Mapping[str, set[str]]
"""Which folders each folder imports."""

RIDDLES = ("what", "who", "whoever", "whether", "how", "which", "where", "when")
"""First words that make a docstring a question and not a statement."""
SHOWN = 40


def report(root: Path, words: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of the report."""
    trees = {path: ast.parse(path.read_text()) for path in sources(root, FOLDERS)}
    ours = [path for folder in PACKAGES for path in trees if path.is_relative_to(root / folder)]
    names = [name for path, tree in trees.items() for name in names_of(path, tree)]
    tokens = Counter(word for name in names for word in name.words)
    shown = [(word, tokens[word]) for word in words] or tokens.most_common(SHOWN)
    yield f"names: {len(names)}, of {len(tokens)} words"
    yield from (f"  {number:>5} {word}" for word, number in shown)
    first = Counter(
        (docstring.text.split() or [""])[0].strip("`.,:;").lower()
        for path in ours
        for docstring in docstrings_of(path, trees[path])
    )
    yield f"docstrings of the four packages: {first.total()}, by first word"
    yield from (f"  {number:>5} {word}" for word, number in first.most_common(SHOWN // 2))
    yield f"  {sum(first[word] for word in RIDDLES):>5} that begin with one of {', '.join(RIDDLES)}"
    skips = sum(path.read_text().count("# fmt: skip") for path in trees)
    yield f"fmt: skip: {skips}"
    yield "folders, imports between them, floors, folders in a circle:"
    for package in PACKAGES:
        graph = imports(root, package)
        edges = sum(len(targets) for targets in graph.values())
        circles = [circle for circle in components(graph) if len(circle) > 1]
        yield f"  {package}: {len(graph)}, {edges}, {floors(graph)}, {sum(map(len, circles))}"


def imports(root: Path, package: str) -> Graph:
    """Return which folders of a package import which others of it; a module beside folders counts as one."""
    base = root / package
    dotted = base.name
    graph: dict[str, set[str]] = defaultdict(set)
    for path in sources(root, (package,)):
        here = _folder(path.relative_to(base).with_suffix("").parts, base)
        graph[here]  # a folder that imports nothing counts, too
        for node in ast.walk(ast.parse(path.read_text())):
            for target in _imported(node):
                head, *rest = target.split(".")
                if head == dotted and rest:
                    graph[here] |= {_folder(tuple(rest), base)} - {here}
    return graph


def _imported(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), names=names):
            yield from (f"{module}.{alias.name}" for alias in names)


def _folder(parts: tuple[str, ...], base: Path) -> str:
    """Return the folder that a module or a name in it belongs to.

    A module beside folders stands for itself: it is a room between those folders, as in a layers contract.
    """
    folder = base
    for depth, part in enumerate(parts):
        if not (folder / part).is_dir():
            beside_folders = any((each / "__init__.py").exists() for each in folder.iterdir() if each.is_dir())
            is_module = (folder / f"{part}.py").exists()
            return "/".join(parts[: depth + 1] if beside_folders and is_module else parts[:depth]) or part
        folder /= part
    return "/".join(parts)


def components(graph: Graph) -> list[set[str]]:
    """Return the strongly connected components, what is imported first (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    result: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in index:
                visit(target)
            if target in stack:
                low[node] = min(low[node], low[target])
        if low[node] == index[node]:
            cut = stack.index(node)
            result.append(set(stack[cut:]))
            del stack[cut:]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return result


def floors(graph: Graph) -> int:
    """Return the length of the longest chain of imports, each circle taken as one."""
    height: dict[str, int] = {}
    for component in components(graph):
        below = {target for node in component for target in graph.get(node, ())} - component
        floor = 1 + max((height[target] for target in below), default=0)
        height |= dict.fromkeys(component, floor)
    return max(height.values(), default=0)
