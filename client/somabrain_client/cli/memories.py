"""Commands that keep, find, show, change and forget memories."""

from __future__ import annotations

import argparse
import sys

from somabrain_client.cli.arguments import (
    Subparsers,
    add_filter,
    add_json,
    add_labels,
    filter_from_options,
    kind,
    timestamp,
)
from somabrain_client.formatting import json_line, memory_lines, recall_result_lines
from somabrain_client.models import MemoryKind
from somabrain_client.sync_client import SyncMemoryClient


def add(commands: Subparsers) -> None:
    """Add the commands."""
    remember = commands.add_parser("remember", help="keep a text")
    remember.add_argument("namespace")
    remember.add_argument("text", help="the text; - reads it from standard input")
    remember.add_argument(
        "--kind", type=kind, default=MemoryKind.EPISODIC, help="episodic (default), semantic or procedural"
    )
    remember.add_argument("--session", default="", help="the conversation or task it belongs to")
    remember.add_argument("--subject", default="", help="the person it is about")
    remember.add_argument(
        "--event-time", type=timestamp, metavar="TIME", help="when it happened (ISO 8601; default: now)"
    )
    remember.add_argument("--salience", type=float, help="how much it matters, 0 to 1 (default: 0.5)")
    remember.add_argument("--pinned", action="store_true", help="never removed by age")
    remember.add_argument("--request-id", default="", help="keeps the text once, however often this is sent")
    add_labels(remember, "given to the memory")
    remember.set_defaults(run=_remember)

    recall = commands.add_parser("recall", help="find what answers a question")
    recall.add_argument("namespace")
    recall.add_argument("query")
    recall.add_argument("--top-k", type=int, default=5, help="how many hits, 1 to 200 (default: 5)")
    recall.add_argument(
        "--min-score", type=float, help="answer nothing unless the best lexical score reaches it, 0 to 1"
    )
    add_filter(recall)
    add_json(recall)
    recall.set_defaults(run=_recall)

    get = commands.add_parser("get", help="show one memory")
    get.add_argument("name", help="namespaces/.../memories/...")
    add_json(get)
    get.set_defaults(run=_get)

    listing = commands.add_parser("list", help="show all memories, oldest first")
    listing.add_argument("namespace")
    add_filter(listing)
    add_json(listing)
    listing.set_defaults(run=_list)

    update = commands.add_parser("update", help="change the text of a memory; what it was stays as a revision")
    update.add_argument("name", help="namespaces/.../memories/...")
    update.add_argument("text", help="the new text; - reads it from standard input")
    update.set_defaults(run=_update)

    revisions = commands.add_parser("revisions", help="show what a memory was before, newest first")
    revisions.add_argument("name", help="namespaces/.../memories/...")
    add_json(revisions)
    revisions.set_defaults(run=_revisions)

    forget = commands.add_parser("forget", help="forget one memory for good")
    forget.add_argument("name", help="namespaces/.../memories/...")
    forget.set_defaults(run=_forget)


def _text(options: argparse.Namespace) -> str:
    # Bytes, because a text is kept as it is: no translated ends of lines, no encoding of the terminal's.
    argument: str = options.text
    return sys.stdin.buffer.read().decode() if argument == "-" else argument


def _remember(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    memory = client.remember(
        options.namespace,
        _text(options),
        kind=options.kind,
        session=options.session,
        subject=options.subject,
        labels=dict(options.label),
        event_time=options.event_time,
        salience=options.salience,
        pinned=options.pinned,
        request_id=options.request_id,
    )
    print(memory.name)
    return 0


def _recall(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    result = client.recall(
        options.namespace,
        options.query,
        top_k=options.top_k,
        where=filter_from_options(options),
        min_score=options.min_score,
        explain=True,
    )
    print(json_line(result) if options.json else "\n".join(recall_result_lines(result)))
    return 0


def _get(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    memory = client.get(options.name)
    print(json_line(memory) if options.json else "\n".join(memory_lines(memory)))
    return 0


def _list(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    for memory in client.list(options.namespace, where=filter_from_options(options)):
        print(json_line(memory) if options.json else "\n".join(memory_lines(memory)))
    return 0


def _update(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    memory = client.update(options.name, text=_text(options))
    print(f"{memory.name}, revision {memory.revision}")
    return 0


def _revisions(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    for memory in client.revisions(options.name):
        print(json_line(memory) if options.json else "\n".join(memory_lines(memory)))
    return 0


def _forget(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    client.forget(options.name)
    print(f"forgotten: {options.name}")
    return 0
