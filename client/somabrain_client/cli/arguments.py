"""Options and argument types that several subcommands share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from somabrain_client.models import Condition, Filter, MemoryKind
from somabrain_client.sync_client import SyncMemoryClient

MAX_DEADLINE_S = 3600

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no other name
Handler: TypeAlias = Callable[[SyncMemoryClient, argparse.Namespace], int]
"""Runs a subcommand and returns its exit code."""


def add_filter(parser: argparse.ArgumentParser) -> None:
    """Add the options of a memory filter."""
    add_labels(parser, "that memories must have")
    parser.add_argument(
        "--kind",
        type=kind,
        action="append",
        default=[],
        metavar="KIND",
        help="only this kind: episodic, semantic or procedural; repeatable",
    )
    parser.add_argument("--session", action="append", default=[], help="only of this conversation or task; repeatable")
    parser.add_argument("--subject", action="append", default=[], help="only about this person; repeatable")
    parser.add_argument(
        "--from",
        dest="since",
        type=timestamp,
        metavar="TIME",
        help="only events at TIME or later (ISO 8601, in UTC if no zone is given)",
    )
    parser.add_argument(
        "--where",
        type=condition,
        action="append",
        default=[],
        metavar="CONDITION",
        help="only memories whose labels meet this: `LABEL OP VALUE` with =, !=, <, <=, >, >=, prefix or in (values "
        "separated by commas), or `LABEL exists`; repeatable, and all must be met",
    )
    parser.add_argument("--key-prefix", default="", metavar="PREFIX", help="only memories whose key begins with PREFIX")
    parser.add_argument(
        "--until", type=timestamp, metavar="TIME", help="only events before TIME (ISO 8601, in UTC if no zone is given)"
    )


def filter_from_options(options: argparse.Namespace) -> Filter:
    """Return the filter that the options describe."""
    return Filter(
        labels=dict(options.label),
        kinds=tuple(options.kind),
        sessions=tuple(options.session),
        subjects=tuple(options.subject),
        event_time_from=options.since,
        event_time_until=options.until,
        key_prefix=options.key_prefix,
        conditions=tuple(options.where),
    )


def add_labels(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add the option `--label`; `meaning` completes the help text "a label ..."."""
    parser.add_argument(
        "--label", type=label, action="append", default=[], metavar="KEY=VALUE", help=f"a label {meaning}; repeatable"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option `--json`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def seconds(text: str) -> float:
    """Return a deadline in seconds.

    Raises:
        argparse.ArgumentTypeError: it is not a number, or out of bounds.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= MAX_DEADLINE_S:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds greater than 0 and at most {MAX_DEADLINE_S}"
        )
    return value


def label(text: str) -> tuple[str, str]:
    """Return key and value of a label, given as KEY=VALUE."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def condition(text: str) -> Condition:
    """Return a condition on a label, given as LABEL OP VALUE or LABEL exists."""
    label, _, rest = text.strip().partition(" ")
    operator, _, value = rest.strip().partition(" ")
    value = value.strip()
    if operator not in {"=", "!=", "<", "<=", ">", ">=", "in", "prefix", "exists"} or (operator == "exists") == bool(
        value
    ):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a condition such as `priority >= 3`, `state in open,new` or `owner exists`"
        )
    if operator == "exists":
        return Condition(label, operator)
    return Condition(label, operator, tuple(value.split(",")) if operator == "in" else value)


def kind(text: str) -> MemoryKind:
    """Return the kind of memory with this name, in any case."""
    try:
        return MemoryKind[text.upper()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a kind; use episodic, semantic or procedural") from None


def timestamp(text: str) -> datetime:
    """Return an ISO 8601 time; without a time zone it is UTC."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2024-05-01 or 2024-05-01T09:30:00Z") from None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
