"""Subcommands `export` and `import`: JSON Lines, resumable, with a progress bar on a terminal.

An export to a file writes a partial file (`FILE.part`) and its checkpoint (`FILE.part.token`), and renames the partial
file when it is complete. An import sends each line with a request id derived from the line and its number, so importing
the same file again within 24 hours creates no duplicates.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Never, TypeAlias

from somabrain_client.cli.arguments import Subparsers, add_filter, filter_from_options
from somabrain_client.errors import CallError, OutOfRangeError
from somabrain_client.jsonl import LineError, draft_from_line, line_from_memory
from somabrain_client.models import MemoryDraft
from somabrain_client.sync_client import SyncMemoryClient

if TYPE_CHECKING:
    from tqdm import tqdm

ReportFailure = Callable[[int, object], None]

ProgressBar: TypeAlias = "tqdm[Never]"

BATCH_SIZE = 500
BATCH_BYTES = 2 * 1024 * 1024
"""Maximum bytes of lines per batch; the contract allows 3 MiB, and protobuf is no longer than JSON."""


def add(commands: Subparsers) -> None:
    """Add the subcommands."""
    export = commands.add_parser("export", help="write all memories as JSON Lines, as of one version")
    export.add_argument("namespace")
    export.add_argument(
        "file", help="output file; - is standard output. An interrupted export to a file resumes when run again"
    )
    export.add_argument("--vectors", action="store_true", help="include the vectors")
    add_filter(export)
    export.set_defaults(run=_export)
    imports = commands.add_parser("import", help="store the memories of an export, or of your own JSON Lines")
    imports.add_argument("namespace")
    imports.add_argument(
        "file", help="JSON Lines; - is standard input. A repeated import within 24 hours creates no duplicates"
    )
    imports.set_defaults(run=_import)


def _export(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    from tqdm import tqdm

    statistics = client.get_namespace(options.namespace).statistics
    with tqdm(total=statistics.memory_count if statistics else None, unit=" memories", disable=None) as bar:
        if options.file == "-":
            cursor = _write_pages(client, options, sys.stdout.buffer, None, bar)
        else:
            cursor = _export_file(client, options, Path(options.file), bar)
    print(
        f"somabrain: changes since this export: somabrain watch {options.namespace} --cursor {cursor}", file=sys.stderr
    )
    return 0


def _export_file(client: SyncMemoryClient, options: argparse.Namespace, file: Path, bar: ProgressBar) -> str:
    partial_file, checkpoint_file = file.with_name(f"{file.name}.part"), file.with_name(f"{file.name}.part.token")
    token = ""
    if checkpoint_file.exists() and partial_file.exists():
        token, _, size = checkpoint_file.read_text().partition(" ")
        with partial_file.open("r+b") as out:
            out.truncate(int(size))
            out.seek(0)
            bar.update(sum(1 for _ in out))
    with partial_file.open("ab" if token else "wb") as out:
        try:
            cursor = _write_pages(client, options, out, checkpoint_file, bar, token)
        except OutOfRangeError:
            checkpoint_file.unlink(missing_ok=True)  # so that the next run starts again
            raise
    partial_file.rename(file)
    checkpoint_file.unlink(missing_ok=True)
    return cursor


def _write_pages(
    client: SyncMemoryClient,
    options: argparse.Namespace,
    out: BinaryIO,
    checkpoint_file: Path | None,
    bar: ProgressBar,
    token: str = "",
) -> str:
    """Write every page, and a checkpoint after each; return the cursor from which a watch continues the export."""
    cursor = ""
    for page in client.export(
        options.namespace, where=filter_from_options(options), include_vectors=options.vectors, resume_token=token
    ):
        out.writelines(line_from_memory(memory).encode() + b"\n" for memory in page.memories)
        out.flush()
        cursor = page.cursor
        if checkpoint_file is not None:
            temporary = checkpoint_file.with_suffix(".draft")
            temporary.write_text(f"{page.resume_token} {out.tell()}")
            temporary.replace(checkpoint_file)
        bar.update(len(page.memories))
    return cursor


@dataclass(frozen=True, slots=True)
class _Batch:
    """Drafts with their line numbers, and their size in the file."""

    drafts: Sequence[MemoryDraft]
    numbers: Sequence[int]
    size_bytes: int


def _import(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    if options.file == "-":
        imported, failed = _import_lines(client, options.namespace, sys.stdin.buffer, None)
    else:
        with Path(options.file).open("rb") as source:
            imported, failed = _import_lines(client, options.namespace, source, Path(options.file).stat().st_size)
    print(f"imported: {imported} memories{f'; failed: {failed} lines, listed above' if failed else ''}")
    return 1 if failed else 0


def _import_lines(client: SyncMemoryClient, namespace: str, source: BinaryIO, size: int | None) -> tuple[int, int]:
    """Send all lines in batches and print each failed line; return the counts of imported and of failed lines."""
    from tqdm import tqdm

    imported = failed = 0
    with tqdm(total=size, unit="B", unit_scale=True, disable=None) as bar:

        def report_failure(number: int, reason: object) -> None:
            nonlocal failed
            failed += 1
            bar.write(f"somabrain: line {number} {reason}", file=sys.stderr)

        for batch in _batches(source, report_failure):
            for number, result in zip(batch.numbers, client.batch_remember(namespace, batch.drafts), strict=True):
                if isinstance(result, CallError):
                    report_failure(number, f"was rejected: {result.reason or result.code.name}: {result.message}")
                else:
                    imported += 1
            bar.update(batch.size_bytes)
    return imported, failed


def _batches(source: BinaryIO, report_failure: ReportFailure) -> Iterator[_Batch]:
    """Yield batches of lines within the service's bounds; skip empty lines, report invalid ones."""
    drafts: list[MemoryDraft] = []
    numbers: list[int] = []
    size = 0
    for number, raw in enumerate(source, start=1):
        if drafts and (len(drafts) == BATCH_SIZE or size + len(raw) > BATCH_BYTES):
            yield _Batch(drafts, numbers, size)
            drafts, numbers, size = [], [], 0
        size += len(raw)
        if not raw.strip():
            continue
        try:
            drafts.append(draft_from_line(raw.decode().rstrip("\r\n"), number))
            numbers.append(number)
        except (LineError, UnicodeError) as exc:
            report_failure(number, "is not UTF-8" if isinstance(exc, UnicodeError) else exc)
    if drafts:
        yield _Batch(drafts, numbers, size)
