"""A sentence encoder as ONNX, on the CPU: tokens, the network, pooling, length 1.

Where the weights and the vocabulary come from is told by the modules beside this one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import BertWordPieceTokenizer, Tokenizer

from somabrain_service.encoders.protocols import EncoderUnavailable

BATCH = 32
"""Texts encoded together: more only pads more."""
RUN = 40
"""What it costs to begin a run, in characters: the weights are read (13 tokens take 3.8 ms, 8 times 13 take 18.5)."""

Pooling = Literal["mean", "cls", "max"]
Floats = NDArray[np.float32]


def open_session(model: Path, threads: int) -> onnxruntime.InferenceSession:
    """Read weights. `threads`: how many one text is encoded with. What is raised is onnxruntime's own."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait would take the processor from the server beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def pool(tokens: Floats, mask: NDArray[np.int64], pooling: Pooling) -> Floats:
    """One vector a text: float32[n, d] from float32[n, t, d] and the attention mask [n, t]."""
    if pooling == "cls":
        return np.asarray(tokens[:, 0])
    weights = mask[:, :, None].astype(np.float32)
    if pooling == "max":
        return np.asarray(np.where(weights > 0, tokens, -np.inf).max(axis=1), np.float32)
    return np.asarray((tokens * weights).sum(axis=1) / weights.sum(axis=1))


@dataclass(frozen=True, slots=True)
class Network:
    """Weights with their tokenizer, which truncates and pads. `pooling` None: the network's output is pooled."""

    session: onnxruntime.InferenceSession
    tokenizer: Tokenizer | BertWordPieceTokenizer
    output: str
    pooling: Pooling | None

    def vectors(self, texts: list[str]) -> Floats:
        """float32[n, d], every row of length 1; blocks."""
        encodings = self.tokenizer.encode_batch(texts)
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feeds = {node.name: given[node.name] for node in self.session.get_inputs()}
        (found,) = self.session.run([self.output], feeds)
        vectors = found if self.pooling is None else pool(found, mask, self.pooling)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Texts, at most BATCH, and who waits for their vectors."""

    texts: list[str]
    answer: asyncio.Future[Floats]


class OnnxEncoder:
    """See `Encoder`. It has one thread of its own, so that the event loop goes on.

    What arrives while it is at work shares its next run: to go through the weights once takes most of a short text's
    time. Many texts go in portions, and others come between.
    """

    def __init__(self, encoder_id: str, network: Network, dimensions: int) -> None:
        self.encoder_id = encoder_id
        self.dimensions = dimensions
        self._network = network
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix=encoder_id)
        self._waiting: deque[_Waiting] = deque()
        self._work: asyncio.Task[None] | None = None

    async def encode(self, texts: Sequence[str]) -> Floats:
        """See `Encoder.encode`."""
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), BATCH):
            portion = _Waiting(list(texts[start : start + BATCH]), asyncio.get_running_loop().create_future())
            self._waiting.append(portion)
            if self._work is None:
                self._work = asyncio.create_task(self._go_on())
            vectors[start : start + BATCH] = await portion.answer
        return vectors

    async def close(self) -> None:
        """Wait for the texts at hand and end the thread; whoever still waits is told that it failed."""
        await asyncio.to_thread(self._threads.shutdown)
        if self._work is not None:
            await self._work

    async def _go_on(self) -> None:
        """Encode until nobody waits."""
        loop = asyncio.get_running_loop()
        while group := self._next():
            texts = [text for waiting in group for text in waiting.texts]
            try:
                vectors = await loop.run_in_executor(self._threads, self._network.vectors, texts)
            except Exception as exc:  # noqa: BLE001 - onnxruntime's errors share no base
                for waiting in group:
                    if not waiting.answer.done():
                        waiting.answer.set_exception(_failure(self.encoder_id, exc))
                continue
            for waiting in group:
                mine, vectors = np.split(vectors, [len(waiting.texts)])
                if not waiting.answer.done():
                    waiting.answer.set_result(mine)
        self._work = None

    def _next(self) -> list[_Waiting]:
        """Who shares the next run: the first, and those behind it while padding costs less than runs of their own."""
        group: list[_Waiting] = []
        count = longest = characters = 0
        while self._waiting:
            waiting = self._waiting[0]
            if waiting.answer.done():
                self._waiting.popleft()
                continue
            lengths = list(map(len, waiting.texts))
            count, longest = count + len(lengths), max(longest, *lengths)
            characters += sum(lengths)
            if group and (count > BATCH or count * longest - characters > RUN * len(group)):
                break
            group.append(self._waiting.popleft())
        return group


def _failure(encoder_id: str, exc: Exception) -> EncoderUnavailable:
    failure = EncoderUnavailable(f"The encoder {encoder_id} failed.")
    failure.__cause__ = exc
    return failure
