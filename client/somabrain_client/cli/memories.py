"""Subcommands that store, search, show, update and forget memories."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from datetime import timedelta

from somabrain_client.cli.arguments import (
    Subparsers,
    add_filter,
    add_json,
    add_labels,
    filter_from_options,
    kind,
    timestamp,
)
from somabrain_client.formatting import group_line, json_line, memory_lines, recall_result_lines
from somabrain_client.models import MemoryGroup, MemoryKind
from somabrain_client.sync_client import SyncMemoryClient

NAME_HELP = "namespaces/.../memories/..., or namespaces/.../keys/KEY"


def add(commands: Subparsers) -> None:
    """Add the subcommands."""
    remember = commands.add_parser("remember", help="store a text as a memory")
    remember.add_argument("namespace")
    remember.add_argument("text", help="text; - reads it from standard input")
    remember.add_argument(
        "--kind", type=kind, default=MemoryKind.EPISODIC, help="kind: episodic (default), semantic or procedural"
    )
    remember.add_argument("--session", default="", help="conversation or task that it belongs to")
    remember.add_argument("--subject", default="", help="person that it is about")
    remember.add_argument(
        "--event-time",
        type=timestamp,
        metavar="TIME",
        help="time of the event (ISO 8601, in UTC if no zone is given; default: now)",
    )
    remember.add_argument("--salience", type=float, help="importance, 0 to 1 (default: 0.5)")
    remember.add_argument("--pinned", action="store_true", help="never expire")
    remember.add_argument(
        "--request-id", default="", help="idempotency key: a repeated command with it stores the text once"
    )
    remember.add_argument("--key", default="", help="key, such as a path, that no memory of the namespace may have yet")
    remember.add_argument("--index-text", default="", help="text to search in place of the text")
    add_labels(remember, "of the memory")
    remember.set_defaults(run=_remember)

    recall = commands.add_parser("recall", help="search memories")
    recall.add_argument("namespace")
    recall.add_argument("query", help="text to search for")
    recall.add_argument("--top-k", type=int, default=5, help="maximum number of hits, 1 to 200 (default: 5)")
    recall.add_argument(
        "--min-match", type=float, help="return no hits unless the best match of words reaches this, 0 to 1"
    )
    recall.add_argument(
        "--min-score", type=float, help="return no hits unless the best lexical score reaches this, 0 to 1 (deprecated)"
    )
    add_filter(recall)
    add_json(recall)
    recall.set_defaults(run=_recall)

    get = commands.add_parser("get", help="show one memory")
    get.add_argument("name", help=NAME_HELP)
    add_json(get)
    get.set_defaults(run=_get)

    listing = commands.add_parser("list", help="show memories, oldest first")
    listing.add_argument("namespace")
    add_filter(listing)
    listing.add_argument(
        "--order-by",
        default="",
        metavar="FIELD",
        help="create_time, event_time, session_position or key, optionally with ' desc' (default: create_time)",
    )
    add_json(listing)
    listing.set_defaults(run=_list)

    update = commands.add_parser("update", help="change the text of a memory; the former text stays as a revision")
    update.add_argument("name", help=NAME_HELP)
    update.add_argument("text", help="new text; - reads it from standard input")
    update.set_defaults(run=_update)

    put = commands.add_parser("put", help="store a text under a key: create the memory, or replace it")
    put.add_argument("namespace")
    put.add_argument("key", help="key, such as a path")
    put.add_argument("text", help="text; - reads it from standard input")
    put.add_argument("--index-text", default="", help="text to search in place of the text")
    put.add_argument("--etag", default="", help="replace only the memory with this etag; absent: only create")
    add_labels(put, "of the memory")
    put.set_defaults(run=_put)

    rename = commands.add_parser("rename", help="give a memory another key")
    rename.add_argument("name", help=NAME_HELP)
    rename.add_argument("key", help="new key")
    rename.set_defaults(run=_rename)

    revisions = commands.add_parser("revisions", help="show former revisions of a memory, newest first")
    revisions.add_argument("name", help=NAME_HELP)
    add_json(revisions)
    revisions.set_defaults(run=_revisions)

    forget = commands.add_parser("forget", help="forget one memory, permanently")
    forget.add_argument("name", help=NAME_HELP)
    forget.set_defaults(run=_forget)

    touch = commands.add_parser("touch", help="let a memory live longer, without another change")
    touch.add_argument("name", help=NAME_HELP)
    touch.add_argument("ttl_s", type=float, metavar="SECONDS", help="seconds from now that it lives at least")
    touch.set_defaults(run=_touch)

    for kind_of_group, handler in (("sessions", _sessions), ("subjects", _subjects)):
        groups = commands.add_parser(kind_of_group, help=f"show the {kind_of_group} of memories, with counts and times")
        groups.add_argument("namespace")
        add_filter(groups)
        add_json(groups)
        groups.set_defaults(run=handler)

    forget_where = commands.add_parser("forget-where", help="forget the memories that match, permanently")
    forget_where.add_argument("namespace")
    add_filter(forget_where)
    forget_where.add_argument(
        "--max-count", type=int, default=0, metavar="N", help="at most N (default and most: 10000)"
    )
    forget_where.add_argument("--dry-run", action="store_true", help="only count them")
    forget_where.set_defaults(run=_forget_where)


def _text(options: argparse.Namespace) -> str:
    # Read as bytes, because a text is stored unchanged: no newline translation, no terminal encoding.
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
        key=options.key,
        index_text=options.index_text,
    )
    print(memory.name)
    return 0


def _put(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    memory = client.upsert(
        options.namespace,
        options.key,
        _text(options),
        labels=dict(options.label),
        etag=options.etag,
        index_text=options.index_text,
    )
    print(f"{memory.name}, revision {memory.revision}")
    return 0


def _rename(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    memory = client.update(options.name, key=options.key)
    print(f"{memory.name}, revision {memory.revision}")
    return 0


def _recall(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    result = client.recall(
        options.namespace,
        options.query,
        top_k=options.top_k,
        where=filter_from_options(options),
        min_score=options.min_score,
        min_match=options.min_match,
        explain=True,
    )
    print(json_line(result) if options.json else "\n".join(recall_result_lines(result)))
    return 0


def _get(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    memory = client.get(options.name)
    print(json_line(memory) if options.json else "\n".join(memory_lines(memory)))
    return 0


def _list(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    for memory in client.list(options.namespace, where=filter_from_options(options), order_by=options.order_by):
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


def _forget_where(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    result = client.forget_where(
        options.namespace, filter_from_options(options), max_count=options.max_count, dry_run=options.dry_run
    )
    print(f"forgotten: {result.count} of {result.matching} memories that match")
    return 0


def _touch(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    memory = client.touch(options.name, timedelta(seconds=options.ttl_s))
    print(f"{memory.name}, expires {memory.expire_time.isoformat() if memory.expire_time else 'never'}")
    return 0


def _sessions(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    return _print_groups(client.list_sessions(options.namespace, where=filter_from_options(options)), options)


def _subjects(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    return _print_groups(client.list_subjects(options.namespace, where=filter_from_options(options)), options)


def _print_groups(groups: Iterable[MemoryGroup], options: argparse.Namespace) -> int:
    for group in groups:
        print(json_line(group) if options.json else group_line(group))
    return 0
