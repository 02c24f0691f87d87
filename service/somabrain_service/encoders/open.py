"""Open the encoders that the settings name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from common.config.settings import EncoderSettings
from somabrain_service.encoders.protocols import LEXICAL, Encoder


@asynccontextmanager
async def open_encoders(encoder: EncoderSettings) -> AsyncIterator[Mapping[str, Encoder]]:
    """The encoders by id, closed on leaving; none for `lexical`.

    Loading takes about a second and is done off the event loop.

    Raises:
        EncoderUnavailable: the encoder cannot be loaded.
    """
    if encoder.kind == LEXICAL:
        yield {}
        return
    # Not imported by a lexical server, whose memory it would take.
    from somabrain_service.encoders.minilm import MiniLm

    minilm = await asyncio.to_thread(MiniLm.load, encoder.threads)
    try:
        yield {minilm.encoder_id: minilm}
    finally:
        await minilm.close()
