"""Gives memories the vectors that they lack: after another encoder was chosen, and after one had failed.

A namespace whose encoder fails rests for a while, longer each time, and others go on. A text that alone makes the
encoder fail is passed over until the next time round, so that it keeps no other from its vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from somabrain_service.encoders.protocols import Encoder, EncoderUnavailable
from somabrain_service.store.maintenance import Encoded, MaintenanceStore, Unencoded, UnencodedText
from somabrain_service.workers.protocols import Round
from somabrain_service.workers.running import backoff_s

MEMORIES = 16
"""Memories a transaction: a tenth of a second of the image's encoder, which answers questions meanwhile."""

_log = structlog.get_logger(__name__)


class Reencoding:
    """See `Worker`."""

    name = "reencoding"

    def __init__(self, encoders: Mapping[str, Encoder], clock: Callable[[], datetime], rest_s: float) -> None:
        self._encoders = encoders
        self._clock = clock
        self.rest_s = rest_s
        self._after: dict[Unencoded, int] = {}
        self._failures: dict[Unencoded, int] = {}
        self._rests_until: dict[Unencoded, datetime] = {}

    async def round(self, held: MaintenanceStore) -> Round:
        """See `Worker.round`."""
        now = self._clock()
        found = await held.unencoded(tuple(self._encoders))
        self._forget(set(found))
        rows, lag_s, more = 0, 0.0, False
        for where in found:
            if self._rests_until.get(where, now) > now:
                continue
            texts = await held.texts(where, self._after.get(where, -1), MEMORIES)
            if not texts:
                # Begin again: what is left is what failed, or what was written meanwhile.
                self._after.pop(where, None)
                self._rest(where, now)
                continue
            lag_s = max(lag_s, (now - min(each.since for each in texts)).total_seconds())
            # Past them whether or not they could be encoded, or a few that cannot would keep all others waiting.
            self._after[where] = texts[-1].id
            if encoded := await self._encode(where, texts):
                rows += await held.encode(where, encoded, now)
                self._failures.pop(where, None)
                more = True
            else:
                self._rest(where, now)
        return Round(rows, more, lag_s)

    async def _encode(self, where: Unencoded, texts: Sequence[UnencodedText]) -> list[Encoded]:
        """Vectors of those texts that can be encoded: all at once, or where that fails each on its own."""
        encoder = self._encoders[where.encoder_id]
        try:
            vectors = await encoder.encode([each.text for each in texts])
        except EncoderUnavailable as exc:
            if len(texts) > 1:
                return [encoded for each in texts for encoded in await self._encode(where, [each])]
            _log.warning("not encoded", encoder=where.encoder_id, memory=f"{texts[0].id:016x}", reason=exc.message)
            return []
        return [Encoded(each.id, each.revision, vector) for each, vector in zip(texts, vectors, strict=True)]

    def _rest(self, where: Unencoded, now: datetime) -> None:
        """Leave the namespace alone for a while, longer each time."""
        failures = self._failures[where] = self._failures.get(where, 0) + 1
        self._rests_until[where] = now + timedelta(seconds=backoff_s(failures, 1.0))

    def _forget(self, found: set[Unencoded]) -> None:
        """What lacks nothing any more is nothing to remember."""
        self._after = {where: after for where, after in self._after.items() if where in found}
        self._failures = {where: failures for where, failures in self._failures.items() if where in found}
        self._rests_until = {where: until for where, until in self._rests_until.items() if where in found}
