"""Sentence encoder with ONNX on the CPU: tokenizer, network, pooling, normalization to length 1.

The modules `minilm` and `directory` load weights and vocabulary.
"""

from __future__ import annotations

import asyncio
import math
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

MAX_BATCH = 32
"""Maximum texts per run: more would only add padding."""
RUN_COST_CHARACTERS = 40
"""Fixed cost of a run, in characters: reading the weights (13 tokens take 3.8 ms, 8 times 13 take 18.5)."""

Pooling = Literal["mean", "cls", "max"]
Floats = NDArray[np.float32]


def open_session(model: Path, threads: int) -> onnxruntime.InferenceSession:
    """Load weights. `threads`: number of threads per run. Raises onnxruntime's own errors."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait would take CPU time from the server in the same process.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def pool(tokens: Floats, mask: NDArray[np.int64], pooling: Pooling) -> Floats:
    """Return one vector per text: float32[n, d] from float32[n, t, d] and the attention mask [n, t]."""
    if pooling == "cls":
        return np.asarray(tokens[:, 0])
    weights = mask[:, :, None].astype(np.float32)
    if pooling == "max":
        return np.asarray(np.where(weights > 0, tokens, -np.inf).max(axis=1), np.float32)
    return np.asarray((tokens * weights).sum(axis=1) / weights.sum(axis=1))


@dataclass(frozen=True, slots=True)
class Network:
    """Weights with their tokenizer, which truncates and pads. `pooling` None: the output is pooled already."""

    session: onnxruntime.InferenceSession
    tokenizer: Tokenizer | BertWordPieceTokenizer
    output: str
    pooling: Pooling | None

    def vectors(self, texts: list[str]) -> Floats:
        """Return float32[n, d], every row of length 1; blocks."""
        encodings = self.tokenizer.encode_batch(texts)
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feeds = {node.name: inputs[node.name] for node in self.session.get_inputs()}
        (output,) = self.session.run([self.output], feeds)
        vectors = output if self.pooling is None else pool(output, mask, self.pooling)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@dataclass(frozen=True, slots=True)
class _Pending:
    """Queued texts, at most `MAX_BATCH`, and the future of their vectors."""

    texts: list[str]
    future: asyncio.Future[Floats]


class OnnxEncoder:
    """See `Encoder`. It runs in threads of its own, so that the event loop is not blocked.

    At most `concurrency` runs at a time, each on one batch; onnxruntime's run releases the interpreter's lock and may
    be called by several threads. Texts that arrive while all run share the next one: reading the weights takes most of
    a short text's time. Many texts are split into batches, between which others can run.
    """

    def __init__(self, encoder_id: str, network: Network, dimensions: int, concurrency: int = 1) -> None:
        self.encoder_id = encoder_id
        self.dimensions = dimensions
        self._network = network
        self._concurrency = concurrency
        self._executor = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix=encoder_id)
        self._queue: deque[_Pending] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._workers = self._runs = 0

    async def encode(self, texts: Sequence[str]) -> Floats:
        """See `Encoder.encode`."""
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), MAX_BATCH):
            pending = _Pending(list(texts[start : start + MAX_BATCH]), asyncio.get_running_loop().create_future())
            self._queue.append(pending)
            if self._workers < self._concurrency:
                self._workers += 1
                task = asyncio.create_task(self._drain_queue())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            vectors[start : start + MAX_BATCH] = await pending.future
        return vectors

    async def close(self) -> None:
        """Wait for the current runs and end the threads; texts still queued fail."""
        await asyncio.to_thread(self._executor.shutdown)
        await asyncio.gather(*self._tasks)

    async def _drain_queue(self) -> None:
        """Encode batches until the queue is empty."""
        try:
            while batch := self._next_batch():
                self._runs += 1
                try:
                    await self._encode_batch(batch)
                finally:
                    self._runs -= 1
        finally:
            self._workers -= 1  # in the step that saw the empty queue, so that the next text starts another

    async def _encode_batch(self, batch: list[_Pending]) -> None:
        texts = [text for pending in batch for text in pending.texts]
        try:
            vectors = await asyncio.get_running_loop().run_in_executor(self._executor, self._network.vectors, texts)
        except Exception as exc:  # noqa: BLE001 - onnxruntime's errors share no base
            for pending in batch:
                if not pending.future.done():
                    pending.future.set_exception(_failure(self.encoder_id, exc))
            return
        for pending in batch:
            own_vectors, vectors = np.split(vectors, [len(pending.texts)])
            if not pending.future.done():
                pending.future.set_result(own_vectors)

    def _next_batch(self) -> list[_Pending]:
        """Dequeue the next run: the first entry, and those behind it while padding costs less than separate runs.

        Not more than its share of those that wait, where other runs could begin now.
        """
        batch: list[_Pending] = []
        waiting = sum(len(pending.texts) for pending in self._queue if not pending.future.done())
        share = min(MAX_BATCH, math.ceil(waiting / (self._concurrency - self._runs)))
        count = longest = characters = 0
        while self._queue:
            pending = self._queue[0]
            if pending.future.done():
                self._queue.popleft()
                continue
            lengths = list(map(len, pending.texts))
            count, longest = count + len(lengths), max(longest, *lengths)
            characters += sum(lengths)
            if batch and (count > share or count * longest - characters > RUN_COST_CHARACTERS * len(batch)):
                break
            batch.append(self._queue.popleft())
        return batch


def _failure(encoder_id: str, exc: Exception) -> EncoderUnavailable:
    failure = EncoderUnavailable(f"The encoder {encoder_id} failed.")
    failure.__cause__ = exc
    return failure
