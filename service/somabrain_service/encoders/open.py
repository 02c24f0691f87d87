"""Open the encoders that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from common.config.settings import EncoderSettings
from somabrain_service.encoders.protocols import Encoder


@asynccontextmanager
async def open_encoders(encoder: EncoderSettings) -> AsyncIterator[Mapping[str, Encoder]]:
    """The encoders by id, closed on leaving; none for `lexical`.

    Loading takes about a second and is done off the event loop.
    """
    raise NotImplementedError
    yield {}
