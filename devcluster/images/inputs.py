"""Inputs of an image and their fingerprint, so that it is rebuilt only if they have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path


def copied_paths(dockerfile: str) -> list[str]:
    """Return the paths that a Dockerfile copies from its context, in order, without duplicates."""
    paths: dict[str, None] = {}
    for line in dockerfile.splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and not any(word.startswith("--from=") for word in words):
            paths.update(dict.fromkeys(word for word in words[1:-1] if not word.startswith("--")))
    return list(paths)


def fingerprint(root: Path, paths: Iterable[str], *more: str) -> str:
    """Return twelve hex digits that identify the files under `root` (names, contents, executable bits) and `more`.

    Raises:
        FileNotFoundError: one of `paths` does not exist.
    """
    digest = hashlib.sha256("\0".join(more).encode())
    for path in paths:
        for file in _files(root / path):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            executable = file.stat().st_mode & 0o100
            digest.update(f"\0{file.relative_to(root)}\0{content}\0{executable}".encode())
    return digest.hexdigest()[:12]


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        inside = (each for each in path.rglob("*") if each.is_file())
        yield from sorted(each for each in inside if "__pycache__" not in each.parts and each.suffix != ".pyc")
    elif path.exists():
        yield path
    else:
        raise FileNotFoundError(f"{path}, an input of an image, does not exist.")
