"""Sentence encoder with ONNX on the CPU: tokenizer, network, pooling, normalization to length 1.

The modules `minilm` and `directory` load weights and vocabulary.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import BertWordPieceTokenizer, Encoding, Tokenizer

from somabrain_service.domain.token_vectors import TokenVectors, quantize, query_tokens
from somabrain_service.encoders.protocols import EncodedQuery, EncodedText, EncoderUnavailable

MAX_BATCH = 32
"""Maximum texts per run: more would only add padding."""
RUN_COST_CHARACTERS = 40
"""Fixed cost of a run, in characters: reading the weights (13 tokens take 3.8 ms, 8 times 13 take 18.5)."""

MAX_QUERY_PIECES = 64
"""Maximum word pieces of a query with a vector: they bound what a comparison costs."""

Pooling = Literal["mean", "cls", "max"]
Floats = NDArray[np.float32]
T = TypeVar("T")


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
class WordPieces:
    """Vectors of a text's word pieces, float32[n, d] of length 1, and where each is in the text, int32[n, 2].

    The marks that the tokenizer puts around a text are not among them. `truncated`: the text has more pieces.
    """

    vectors: Floats
    spans: NDArray[np.int32]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Output:
    """Output of the network for a text: a vector, float32[d] of length 1, and its word pieces.

    `pieces` None: the network makes none, or none are wanted.
    """

    vector: Floats
    pieces: WordPieces | None

    def text(self) -> EncodedText:
        """Return what is stored of a text."""
        if self.pieces is None:
            return EncodedText(self.vector)
        return EncodedText(self.vector, TokenVectors(quantize(self.pieces.vectors), self.pieces.truncated))

    def query(self) -> EncodedQuery:
        """Return what a query is compared by."""
        if self.pieces is None or not len(self.pieces.vectors):
            return EncodedQuery(self.vector)
        vectors, spans = self.pieces.vectors[:MAX_QUERY_PIECES], self.pieces.spans[:MAX_QUERY_PIECES]
        return EncodedQuery(self.vector, query_tokens(vectors, spans))


@dataclass(frozen=True, slots=True)
class Network:
    """Weights with their tokenizer, which truncates and pads. `pooling` None: the output is pooled already.

    `token_output` is the one with a vector per word piece; None: no output has. Of each text at most `max_word_pieces`
    get a vector; 0: none.
    """

    session: onnxruntime.InferenceSession
    tokenizer: Tokenizer | BertWordPieceTokenizer
    output: str
    pooling: Pooling | None
    token_output: str | None
    max_word_pieces: int

    @property
    def has_token_vectors(self) -> bool:
        """True if word pieces get vectors."""
        return self.token_output is not None and self.max_word_pieces > 0

    def run(self, texts: list[str]) -> list[Output]:
        """Return what the network makes of each text; blocks."""
        encodings = self.tokenizer.encode_batch(texts)
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feeds = {node.name: inputs[node.name] for node in self.session.get_inputs()}
        token_output = self.token_output if self.has_token_vectors else None
        names = list(dict.fromkeys(name for name in (self.output, token_output) if name))
        outputs = dict(zip(names, self.session.run(names, feeds), strict=True))
        pooled = outputs[self.output]
        vectors = pooled if self.pooling is None else pool(pooled, mask, self.pooling)
        vectors = np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
        pieces = [
            self._word_pieces(encoding, outputs[token_output][number]) if token_output else None
            for number, encoding in enumerate(encodings)
        ]
        return [Output(*of_text) for of_text in zip(vectors, pieces, strict=True)]

    def vectors(self, texts: list[str]) -> Floats:
        """Return float32[n, d], every row of length 1; blocks."""
        return np.array([output.vector for output in self.run(texts)], np.float32)

    def spans(self, texts: list[str]) -> list[list[tuple[int, int]]]:
        """Return the first and the end character of each word piece of each text that has a vector; blocks."""
        return [
            [encoding.offsets[place] for place in _word_pieces(encoding)[: self.max_word_pieces]]
            for encoding in self.tokenizer.encode_batch(texts)
        ]

    def _word_pieces(self, encoding: Encoding, vectors: Floats) -> WordPieces:
        places = _word_pieces(encoding)
        kept = places[: self.max_word_pieces]
        chosen = np.asarray(vectors[kept], np.float32)
        lengths = np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-12)
        spans = np.array([encoding.offsets[place] for place in kept], np.int32).reshape(-1, 2)
        return WordPieces(chosen / lengths, spans, bool(encoding.overflowing) or len(places) > len(kept))


def _word_pieces(encoding: Encoding) -> list[int]:
    """Return the places of the word pieces among the tokens of a text: not those of marks and padding."""
    flags = zip(encoding.special_tokens_mask, encoding.attention_mask, strict=True)
    return [place for place, (is_mark, is_attended) in enumerate(flags) if is_attended and not is_mark]


@dataclass(frozen=True, slots=True)
class _Pending(Generic[T]):
    """Queued texts, at most `MAX_BATCH`, what is wanted of each, and the future of that."""

    texts: list[str]
    convert: Callable[[Output], T]
    future: asyncio.Future[list[T]]


class OnnxEncoder:
    """`Encoder` on ONNX Runtime. It runs in separate threads, so that the event loop is not blocked.

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
        self._queue: deque[_Pending[Any]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._workers = self._runs = 0

    @property
    def has_token_vectors(self) -> bool:
        """True if texts and queries get vectors of their word pieces, too."""
        return self._network.has_token_vectors

    async def encode(self, texts: Sequence[str]) -> Floats:
        """Encode without blocking the event loop."""
        vectors = await self._convert(texts, lambda output: output.vector)
        return np.array(vectors, np.float32).reshape(-1, self.dimensions)

    async def encode_texts(self, texts: Sequence[str]) -> list[EncodedText]:
        """Encode texts to be stored; raises as `encode`."""
        return await self._convert(texts, Output.text)

    async def encode_query(self, query: str) -> EncodedQuery:
        """Encode a query; raises as `encode`."""
        (encoded,) = await self._convert([query], Output.query)
        return encoded

    async def spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Return the first and the end character of each word piece of each text that has a vector."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._network.spans, list(texts))

    async def _convert(self, texts: Sequence[str], convert: Callable[[Output], T]) -> list[T]:
        """Return what is wanted of the network's output for each text."""
        results: list[T] = []
        for start in range(0, len(texts), MAX_BATCH):
            batch = list(texts[start : start + MAX_BATCH])
            pending: _Pending[T] = _Pending(batch, convert, asyncio.get_running_loop().create_future())
            self._queue.append(pending)
            if self._workers < self._concurrency:
                self._workers += 1
                task = asyncio.create_task(self._drain_queue())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            results += await pending.future
        return results

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

    async def _encode_batch(self, batch: list[_Pending[Any]]) -> None:
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._executor, self._run, batch)
        except Exception as exc:  # noqa: BLE001 - onnxruntime's errors share no base
            for pending in batch:
                if not pending.future.done():
                    pending.future.set_exception(_failure(self.encoder_id, exc))
            return
        for pending, result in zip(batch, results, strict=True):
            if not pending.future.done():
                pending.future.set_result(result)

    def _run(self, batch: list[_Pending[Any]]) -> list[list[Any]]:
        """Return what is wanted of the texts of each entry; blocks."""
        outputs = iter(self._network.run([text for pending in batch for text in pending.texts]))
        return [[pending.convert(next(outputs)) for _ in pending.texts] for pending in batch]

    def _next_batch(self) -> list[_Pending[Any]]:
        """Dequeue the next run: the first entry, and those behind it while padding costs less than separate runs.

        Not more than its share of those that wait, where other runs could begin now.
        """
        batch: list[_Pending[Any]] = []
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
