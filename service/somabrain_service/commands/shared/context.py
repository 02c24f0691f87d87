"""Dependencies of the commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from common.aio.keyed_lock import KeyedLock
from somabrain_service.commands.shared.watch_hub import WatchHub
from somabrain_service.domain.names import MemoryRef, TenantId
from somabrain_service.encoders.protocols import LEXICAL, Encoder, EncoderUnavailable
from somabrain_service.flags.registry import FixedFlags, FlagSource
from somabrain_service.recall.query_vectors import QueryVectors, UncachedQueryVectors
from somabrain_service.recall.ranker import ExactRanker, Ranker
from somabrain_service.store.protocols import Store


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class AppContext:
    """Dependencies of the commands, created once by the entry point.

    `encoders`: those this process can run, by encoder id. `client_encoders`: those that clients run, with the dimension
    of their vectors. `default_encoder`: the one of namespaces that do not set one. The id `lexical` means no vectors
    and has no encoder. `clock`: the current time, in a service that of the database: times of memories, expiry, age,
    retention and the validity of request ids follow it alone, so that all processes agree on them. `update_lock`: taken
    by updates of one memory.
    """

    store: Store
    encoders: Mapping[str, Encoder]
    default_encoder: str
    client_encoders: Mapping[str, int] = field(default_factory=dict)
    flags: FlagSource = field(default_factory=FixedFlags)
    query_vectors: QueryVectors = field(default_factory=UncachedQueryVectors)
    ranker: Ranker = field(default_factory=ExactRanker)
    watch_hub: WatchHub = field(default_factory=WatchHub)
    clock: Callable[[], datetime] = utc_now
    update_lock: KeyedLock[tuple[TenantId, MemoryRef]] = field(default_factory=KeyedLock)

    @property
    def encoder_ids(self) -> list[str]:
        """Ids that a namespace's `encoder` may be set to, sorted."""
        return sorted({LEXICAL, *self.encoders, *self.client_encoders})

    def dimensions(self, encoder_id: str) -> int:
        """Return the dimension of an encoder's vectors.

        Raises:
            EncoderUnavailable: the encoder is unknown to this process.
        """
        if encoder_id in self.client_encoders:
            return self.client_encoders[encoder_id]
        return self.encoder(encoder_id).dimensions

    def encoder(self, encoder_id: str) -> Encoder:
        """Return the encoder.

        Raises:
            EncoderUnavailable: this process does not run it.
        """
        if encoder := self.encoders.get(encoder_id):
            return encoder
        if encoder_id in self.client_encoders:
            raise EncoderUnavailable(f"The encoder {encoder_id!r} is run by clients: send `vector`.")
        raise EncoderUnavailable(f"This server does not run the namespace's encoder {encoder_id!r}.")
