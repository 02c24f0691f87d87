"""A sentence encoder as ONNX, on the CPU: tokens, the network, pooling, length 1.

Where the weights and the vocabulary come from is told by the modules beside this one.
"""

from __future__ import annotations

import asyncio
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


class OnnxEncoder:
    """See `Encoder`. It has one thread of its own, so that the event loop goes on."""

    def __init__(self, encoder_id: str, network: Network, dimensions: int) -> None:
        self.encoder_id = encoder_id
        self.dimensions = dimensions
        self._network = network
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix=encoder_id)

    async def encode(self, texts: Sequence[str]) -> Floats:
        """See `Encoder.encode`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._encode, list(texts))

    async def close(self) -> None:
        """Wait for the texts at hand and end the thread."""
        await asyncio.to_thread(self._threads.shutdown)

    def _encode(self, texts: list[str]) -> Floats:
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), BATCH):
            try:
                vectors[start : start + BATCH] = self._network.vectors(texts[start : start + BATCH])
            except Exception as exc:  # onnxruntime's errors share no base
                raise EncoderUnavailable(f"The encoder {self.encoder_id} failed.") from exc
        return vectors
