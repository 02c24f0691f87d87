"""Opens the configured encoders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from common.config.settings import MINILM, EncoderSettings
from common.processors import usable_processors
from somabrain_service.encoders.endpoint import open_endpoint
from somabrain_service.encoders.protocols import Encoder


@asynccontextmanager
async def open_encoders(encoder: EncoderSettings) -> AsyncIterator[Mapping[str, Encoder]]:
    """Yield the local and remote encoders by id, without `lexical` and client encoders; closed on exit.

    Loading takes about a second each and is done off the event loop.

    Raises:
        ConfigurationError: an encoder cannot be loaded.
    """
    opened: dict[str, Encoder] = {}
    async with AsyncExitStack() as stack:
        if encoder.offers_minilm or encoder.onnx:
            # Imported only if needed, because these modules take much memory.
            from somabrain_service.encoders import directory, minilm

            concurrency = encoder.concurrency or max(1, usable_processors() // encoder.threads)
            if encoder.offers_minilm:
                opened[MINILM] = await asyncio.to_thread(
                    minilm.load, encoder.threads, concurrency, encoder.token_vectors
                )
                stack.push_async_callback(opened[MINILM].close)
            for onnx in encoder.onnx:
                opened[onnx.id] = await asyncio.to_thread(
                    directory.load, onnx, encoder.threads, concurrency, encoder.token_vectors
                )
                stack.push_async_callback(opened[onnx.id].close)
        for endpoint in encoder.endpoints:
            opened[endpoint.id] = await stack.enter_async_context(open_endpoint(endpoint))
        yield opened
