"""What the commands work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from somabrain_service.commands.watchers import Watchers
from somabrain_service.encoders.protocols import Encoder
from somabrain_service.store.protocols import Store


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Services:
    """The parts a command needs, made once by the entry point.

    `encoders` are all that this process can run, by encoder id, `default_encoder` is the one of a namespace that
    names none; the id `lexical` stands for no vectors and has no encoder.
    """

    store: Store
    encoders: Mapping[str, Encoder]
    default_encoder: str
    watchers: Watchers = field(default_factory=Watchers)
    clock: Callable[[], datetime] = utc_now
