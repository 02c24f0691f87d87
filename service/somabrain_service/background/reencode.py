"""Encodes memories without a vector: after their namespace's encoder was changed, and after an encoder failed.

Memories without token vectors are encoded, too: those of versions that had none.

A namespace whose encoder fails is retried with exponential back-off, and others go on. A text that alone makes the
encoder fail is skipped until the next pass, so that it does not block other texts.

An encoder may be unavailable to one process alone: its node's network, or its file with the key. So a process that has
nothing else to do fails, which gives up the job's lock to one that may do the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from common.errors import Unavailable
from somabrain_service.background.job import BatchResult
from somabrain_service.background.runner import BACKOFF
from somabrain_service.encoders.protocols import Encoder, EncoderUnavailable
from somabrain_service.store.maintenance import Encoded, MaintenanceStore, Unencoded, UnencodedText
from somabrain_service.store.records import token_record

MEMORIES_PER_TRANSACTION = 16
"""Maximum memories per transaction: a tenth of a second of the built-in encoder, which also encodes queries."""
PROBE_TEXT = "probe"

_log = structlog.stdlib.get_logger(__name__)


class Reencode:
    """Job that computes missing vectors."""

    name = "reencoding"

    def __init__(self, encoders: Mapping[str, Encoder], clock: Callable[[], datetime], interval_s: float) -> None:
        self._encoders = encoders
        self._clock = clock
        self.interval_s = interval_s
        self._cursors: dict[Unencoded, int] = {}
        self._failures: dict[Unencoded, int] = {}
        self._retry_at: dict[Unencoded, datetime] = {}
        self._unavailable: set[str] = set()
        """Encoders that failed when they were called last, and not for a text's sake."""

    async def run_once(self, store: MaintenanceStore) -> BatchResult:
        """Process one batch of the shard that `store` has locked."""
        now = self._clock()
        with_tokens = tuple(name for name, encoder in self._encoders.items() if encoder.has_token_vectors)
        namespaces = await store.unencoded(tuple(self._encoders), with_tokens)
        self._prune(set(namespaces))
        rows, lag_s, has_more = 0, 0.0, False
        for namespace in namespaces:
            wait_s = (self._retry_at.get(namespace, now) - now).total_seconds()
            # A longer one is from before the clock was set back.
            if 0 < wait_s <= BACKOFF.cap_s:
                continue
            after = self._cursors.get(namespace, -1)
            texts = await store.texts(
                namespace, after, MEMORIES_PER_TRANSACTION, with_tokens=namespace.encoder_id in with_tokens
            )
            if not texts:
                # Begin the next pass: what is left has failed, or was written meanwhile.
                self._cursors.pop(namespace, None)
                self._back_off(namespace, now)
                continue
            lag_s = max(lag_s, (now - min(each.since for each in texts)).total_seconds())
            # Advance whether or not they could be encoded, or a few that cannot would block all others.
            self._cursors[namespace] = texts[-1].id
            encoded = await self._encode(namespace, texts)
            await self._note_availability(namespace.encoder_id, encoded)
            if encoded:
                rows += await store.encode(namespace, encoded, now)
                self._failures.pop(namespace, None)
                has_more = True
            else:
                self._back_off(namespace, now)
        missing = sorted({each.encoder_id for each in namespaces} & self._unavailable)
        failure = None
        if missing and not rows and not has_more:
            failure = Unavailable(
                f"The encoder {missing[0]} is unavailable to this process; another process may encode what is pending."
            )
        return BatchResult(rows, has_more, lag_s, failure)

    async def _note_availability(self, encoder_id: str, encoded: Sequence[Encoded]) -> None:
        """Note if an encoder is available: it has just encoded a text, or encodes one that cannot be the reason."""
        self._unavailable.discard(encoder_id)
        if encoded:
            return
        try:
            await self._encoders[encoder_id].encode([PROBE_TEXT])
        except EncoderUnavailable:
            self._unavailable.add(encoder_id)

    async def _encode(self, namespace: Unencoded, texts: Sequence[UnencodedText]) -> list[Encoded]:
        """Encode the texts together, or one by one if that fails; return those that succeeded."""
        encoder = self._encoders[namespace.encoder_id]
        try:
            encoded = await encoder.encode_texts([each.text for each in texts])
        except EncoderUnavailable as exc:
            if len(texts) > 1:
                return [encoded for each in texts for encoded in await self._encode(namespace, [each])]
            _log.warning(
                "memory not encoded", encoder=namespace.encoder_id, memory=f"{texts[0].id:016x}", reason=exc.message
            )
            return []
        return [
            Encoded(each.id, each.revision, of_text.vector, token_record(each.text, of_text.tokens))
            for each, of_text in zip(texts, encoded, strict=True)
        ]

    def _back_off(self, namespace: Unencoded, now: datetime) -> None:
        """Delay the namespace's next attempt, exponentially with its failures in a row."""
        failures = self._failures[namespace] = self._failures.get(namespace, 0) + 1
        self._retry_at[namespace] = now + timedelta(seconds=BACKOFF.delay_s(failures))

    def _prune(self, pending: set[Unencoded]) -> None:
        """Delete the state of namespaces that have no pending memories any more."""
        self._cursors = {namespace: cursor for namespace, cursor in self._cursors.items() if namespace in pending}
        self._failures = {namespace: failures for namespace, failures in self._failures.items() if namespace in pending}
        self._retry_at = {namespace: retry_at for namespace, retry_at in self._retry_at.items() if namespace in pending}
