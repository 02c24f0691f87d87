"""Gives memories the vectors that they lack: after another encoder was chosen, and after one had failed.

A namespace whose encoder fails rests for a while, longer each time, and others go on. A text that alone makes the
encoder fail is passed over until the next time round, so that it keeps no other from its vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from somabrain_service.background.job import BatchResult
from somabrain_service.background.runner import backoff_s
from somabrain_service.encoders.protocols import Encoder, EncoderUnavailable
from somabrain_service.store.maintenance import Encoded, MaintenanceStore, Unencoded, UnencodedText

MEMORIES_PER_TRANSACTION = 16
"""Memories a transaction: a tenth of a second of the image's encoder, which answers questions meanwhile."""

_log = structlog.get_logger(__name__)


class Reencode:
    """See `Worker`."""

    name = "reencoding"

    def __init__(self, encoders: Mapping[str, Encoder], clock: Callable[[], datetime], interval_s: float) -> None:
        self._encoders = encoders
        self._clock = clock
        self.interval_s = interval_s
        self._cursors: dict[Unencoded, int] = {}
        self._failures: dict[Unencoded, int] = {}
        self._retry_at: dict[Unencoded, datetime] = {}

    async def run_once(self, store: MaintenanceStore) -> BatchResult:
        """See `Worker.round`."""
        now = self._clock()
        namespaces = await store.unencoded(tuple(self._encoders))
        self._prune(set(namespaces))
        rows, lag_s, has_more = 0, 0.0, False
        for namespace in namespaces:
            if self._retry_at.get(namespace, now) > now:
                continue
            texts = await store.texts(namespace, self._cursors.get(namespace, -1), MEMORIES_PER_TRANSACTION)
            if not texts:
                # Begin again: what is left is what failed, or what was written meanwhile.
                self._cursors.pop(namespace, None)
                self._back_off(namespace, now)
                continue
            lag_s = max(lag_s, (now - min(each.since for each in texts)).total_seconds())
            # Past them whether or not they could be encoded, or a few that cannot would keep all others waiting.
            self._cursors[namespace] = texts[-1].id
            if encoded := await self._encode(namespace, texts):
                rows += await store.encode(namespace, encoded, now)
                self._failures.pop(namespace, None)
                has_more = True
            else:
                self._back_off(namespace, now)
        return BatchResult(rows, has_more, lag_s)

    async def _encode(self, namespace: Unencoded, texts: Sequence[UnencodedText]) -> list[Encoded]:
        """Vectors of those texts that can be encoded: all at once, or where that fails each on its own."""
        encoder = self._encoders[namespace.encoder_id]
        try:
            vectors = await encoder.encode([each.text for each in texts])
        except EncoderUnavailable as exc:
            if len(texts) > 1:
                return [encoded for each in texts for encoded in await self._encode(namespace, [each])]
            _log.warning("not encoded", encoder=namespace.encoder_id, memory=f"{texts[0].id:016x}", reason=exc.message)
            return []
        return [Encoded(each.id, each.revision, vector) for each, vector in zip(texts, vectors, strict=True)]

    def _back_off(self, namespace: Unencoded, now: datetime) -> None:
        """Leave the namespace alone for a while, longer each time."""
        failures = self._failures[namespace] = self._failures.get(namespace, 0) + 1
        self._retry_at[namespace] = now + timedelta(seconds=backoff_s(failures, 1.0))

    def _prune(self, pending: set[Unencoded]) -> None:
        """What lacks nothing any more is nothing to remember."""
        self._cursors = {namespace: cursor for namespace, cursor in self._cursors.items() if namespace in pending}
        self._failures = {namespace: failures for namespace, failures in self._failures.items() if namespace in pending}
        self._retry_at = {namespace: retry_at for namespace, retry_at in self._retry_at.items() if namespace in pending}
