"""Export and import: JSON Lines, with a progress bar on a terminal, and begun again where they were broken off.

An export into a file writes beside it what it has (`FILE.part`) and where it stood (`FILE.part.token`), and gives it
its name when it is whole. An import sends each line with a request id made of the line and its place, so the same
file sent again within 24 hours keeps nothing twice.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Never, TypeAlias

from tqdm import tqdm

from somabrain_client.cli.arguments import Commands, add_filter, read_filter
from somabrain_client.errors import CallError, OutOfRangeError
from somabrain_client.exchange import LineError, to_draft, to_line
from somabrain_client.sync_client import SyncMemoryClient
from somabrain_client.values import Draft

Fail = Callable[[int, object], None]

Bar: TypeAlias = "tqdm[Never]"

BATCH = 500
BATCH_BYTES = 2 * 1024 * 1024
"""Of lines; a batch may hold 3 MiB, and protobuf is no longer than JSON."""


def add(commands: Commands) -> None:
    """Add the commands."""
    export = commands.add_parser("export", help="write all memories as lines of JSON, as of one moment")
    export.add_argument("namespace")
    export.add_argument("file", help="where to; - writes to standard output. Run again, a broken export goes on")
    export.add_argument("--vectors", action="store_true", help="with their vectors")
    add_filter(export)
    export.set_defaults(run=_export)
    imports = commands.add_parser("import", help="keep the memories of an export, or of your own lines of JSON")
    imports.add_argument("namespace")
    imports.add_argument(
        "file", help="lines of JSON; - reads standard input. Run again within a day, nothing is doubled"
    )
    imports.set_defaults(run=_import)


def _export(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    total = client.get_namespace(options.namespace).statistics
    with tqdm(total=total.memory_count if total else None, unit=" memories", disable=None) as bar:
        if options.file == "-":
            cursor = _pages(client, options, sys.stdout.buffer, None, bar)
        else:
            cursor = _export_file(client, options, Path(options.file), bar)
    print(f"somabrain: what changed meanwhile: somabrain watch {options.namespace} --cursor {cursor}", file=sys.stderr)
    return 0


def _export_file(client: SyncMemoryClient, options: argparse.Namespace, file: Path, bar: Bar) -> str:
    part, mark = file.with_name(f"{file.name}.part"), file.with_name(f"{file.name}.part.token")
    token = ""
    if mark.exists() and part.exists():
        token, _, size = mark.read_text().partition(" ")
        with part.open("r+b") as out:
            out.truncate(int(size))
            out.seek(0)
            bar.update(sum(1 for _ in out))
    with part.open("ab" if token else "wb") as out:
        try:
            cursor = _pages(client, options, out, mark, bar, token)
        except OutOfRangeError:
            mark.unlink(missing_ok=True)  # so that the next run begins anew
            raise
    part.rename(file)
    mark.unlink(missing_ok=True)
    return cursor


def _pages(
    client: SyncMemoryClient,
    options: argparse.Namespace,
    out: BinaryIO,
    mark: Path | None,
    bar: Bar,
    token: str = "",
) -> str:
    """Write every page, and note after each where the next begins; return the cursor of the export's moment."""
    cursor = ""
    for page in client.export(
        options.namespace, where=read_filter(options), include_vectors=options.vectors, resume_token=token
    ):
        out.writelines(to_line(memory).encode() + b"\n" for memory in page.memories)
        out.flush()
        cursor = page.cursor
        if mark is not None:
            draft = mark.with_suffix(".draft")
            draft.write_text(f"{page.resume_token} {out.tell()}")
            draft.replace(mark)
        bar.update(len(page.memories))
    return cursor


@dataclass(frozen=True, slots=True)
class _Batch:
    """Drafts with the numbers of their lines, and the bytes they took in the file."""

    drafts: Sequence[Draft]
    numbers: Sequence[int]
    size_bytes: int


def _import(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    if options.file == "-":
        kept, failed = _send(client, options.namespace, sys.stdin.buffer, None)
    else:
        with Path(options.file).open("rb") as source:
            kept, failed = _send(client, options.namespace, source, Path(options.file).stat().st_size)
    print(f"kept: {kept} memories{f'; not kept: {failed} lines, told above' if failed else ''}")
    return 1 if failed else 0


def _send(client: SyncMemoryClient, namespace: str, source: BinaryIO, size: int | None) -> tuple[int, int]:
    """Send every line in batches; what is not kept is said at once, by its line. Return how many were, and were not."""
    kept = failed = 0
    with tqdm(total=size, unit="B", unit_scale=True, disable=None) as bar:

        def fail(number: int, why: object) -> None:
            nonlocal failed
            failed += 1
            bar.write(f"somabrain: line {number} {why}", file=sys.stderr)

        for batch in _batches(source, fail):
            for number, result in zip(batch.numbers, client.batch_remember(namespace, batch.drafts), strict=True):
                if isinstance(result, CallError):
                    fail(number, f"was refused: {result.reason or result.code.name}: {result.message}")
                else:
                    kept += 1
            bar.update(batch.size_bytes)
    return kept, failed


def _batches(source: BinaryIO, fail: Fail) -> Iterator[_Batch]:
    """Cut the lines into batches that the service takes; empty lines are passed over."""
    drafts: list[Draft] = []
    numbers: list[int] = []
    size = 0
    for number, raw in enumerate(source, start=1):
        if drafts and (len(drafts) == BATCH or size + len(raw) > BATCH_BYTES):
            yield _Batch(drafts, numbers, size)
            drafts, numbers, size = [], [], 0
        size += len(raw)
        if not raw.strip():
            continue
        try:
            drafts.append(to_draft(raw.decode().rstrip("\r\n"), number))
            numbers.append(number)
        except (LineError, UnicodeError) as exc:
            fail(number, "is not UTF-8" if isinstance(exc, UnicodeError) else exc)
    if drafts:
        yield _Batch(drafts, numbers, size)
