"""What several commands are told in the same way."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from somabrain_client.models import Filter, MemoryKind
from somabrain_client.sync_client import SyncMemoryClient

MAX_DEADLINE_S = 3600

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no other name
Handler: TypeAlias = Callable[[SyncMemoryClient, argparse.Namespace], int]
"""Runs a command and returns its exit code."""


def add_filter(parser: argparse.ArgumentParser) -> None:
    """Let a command be told which memories are meant."""
    add_labels(parser, "that a memory must have")
    parser.add_argument(
        "--kind",
        type=kind,
        action="append",
        default=[],
        metavar="KIND",
        help="episodic, semantic or procedural; repeatable",
    )
    parser.add_argument("--session", action="append", default=[], help="of this conversation or task; repeatable")
    parser.add_argument("--subject", action="append", default=[], help="about this person; repeatable")
    parser.add_argument(
        "--from", dest="since", type=timestamp, metavar="TIME", help="that happened at TIME or later (ISO 8601)"
    )
    parser.add_argument("--until", type=timestamp, metavar="TIME", help="that happened before TIME (ISO 8601)")


def filter_from_options(options: argparse.Namespace) -> Filter:
    """Return which memories are meant."""
    return Filter(
        labels=dict(options.label),
        kinds=tuple(options.kind),
        sessions=tuple(options.session),
        subjects=tuple(options.subject),
        event_time_from=options.since,
        event_time_until=options.until,
    )


def add_labels(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Let a command be told labels."""
    parser.add_argument(
        "--label", type=label, action="append", default=[], metavar="KEY=VALUE", help=f"a label {meaning}; repeatable"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Let a command speak to programs."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for programs")


def seconds(text: str) -> float:
    """Return a time of a call."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= MAX_DEADLINE_S:
        raise argparse.ArgumentTypeError(f"{text!r} is no time of more than 0 and at most {MAX_DEADLINE_S} seconds")
    return value


def label(text: str) -> tuple[str, str]:
    """Return key and value of a label."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def kind(text: str) -> MemoryKind:
    """Return a kind of memory by its name."""
    try:
        return MemoryKind[text.upper()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is none of episodic, semantic and procedural") from None


def timestamp(text: str) -> datetime:
    """Return a time; without a zone it is UTC."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2024-05-01 or 2024-05-01T09:30:00Z") from None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
