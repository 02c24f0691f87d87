"""Subcommand `watch`: print every change once, also across restarts of the service and of this command."""

from __future__ import annotations

import argparse
from pathlib import Path

from somabrain_client.changes import Change
from somabrain_client.cli.arguments import Subparsers, add_json
from somabrain_client.formatting import change_lines, json_line
from somabrain_client.sync_client import SyncMemoryClient


def add(commands: Subparsers) -> None:
    """Add the subcommand."""
    watch = commands.add_parser("watch", help="show every change as it happens, until interrupted")
    watch.add_argument("namespace")
    watch.add_argument("--cursor", default="", help="start after this cursor (default: now)")
    watch.add_argument(
        "--cursor-file",
        type=Path,
        metavar="FILE",
        help="store the cursor in this file, so that the next run continues from it",
    )
    watch.add_argument("--memory", action="store_true", help="include the current memory")
    add_json(watch)
    watch.set_defaults(run=_watch)


def _watch(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    file: Path | None = options.cursor_file
    cursor: str = options.cursor
    if file is not None and file.exists() and not cursor:
        cursor = file.read_text().strip()
    for event in client.watch(options.namespace, cursor=cursor, include_memory=options.memory):
        if isinstance(event, Change):
            print(json_line(event) if options.json else "\n".join(change_lines(event)), flush=True)
        if file is not None:
            # Written after the line was printed: if killed in between, a change is printed twice, and never lost.
            temporary = file.with_name(f"{file.name}.draft")
            temporary.write_text(event.cursor)
            temporary.replace(file)
    return 0
