"""Texts and vectors of one run, in files that the processes of all clients map into memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

TEXTS, GIVEN, ENCODED, QUESTIONS, QUESTION_VECTORS = (
    "texts.json",
    "given.npy",
    "encoded.npy",
    "questions.json",
    "question_vectors.npy",
)


@dataclass(frozen=True, slots=True)
class Item:
    """Memory to store. `vector` None: the system encodes the text. `session` empty: it belongs to no session."""

    text: str
    vector: list[float] | None
    session: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Memories and questions. The first memories are those that are searched, the others are added one by one."""

    texts: list[str]
    given: Floats
    """Vectors of `texts` that a caller gives, uniformly distributed over directions."""
    encoded: Floats
    """Vectors of the first texts by the product's encoder."""
    questions: list[str]
    question_vectors: Floats

    def item(self, number: int, vectors: Floats | None, session: str) -> Item:
        """Return the memory of a number, counted round; None: without a vector."""
        index = number % len(self.texts)
        return Item(self.texts[index], None if vectors is None else vectors[index].tolist(), session)

    def question(self, number: int, *, vector: bool) -> tuple[str, list[float] | None]:
        """Return the question of a number, counted round, and its vector."""
        index = number % len(self.questions)
        return self.questions[index], self.question_vectors[index].tolist() if vector else None

    def nearest(self, number: int, among: int, count: int) -> set[str]:
        """Return the texts of the `count` memories among the first `among` with the greatest cosine to a question."""
        cosines = self.given[:among] @ self.question_vectors[number % len(self.questions)]
        return {self.texts[index] for index in np.argpartition(-cosines, count)[:count]}

    def write(self, folder: Path) -> None:
        """Write everything to files in `folder`."""
        (folder / TEXTS).write_text(json.dumps(self.texts))
        (folder / QUESTIONS).write_text(json.dumps(self.questions))
        for name, array in self._arrays():
            np.save(folder / name, array)

    def _arrays(self) -> Iterator[tuple[str, Floats]]:
        yield from ((GIVEN, self.given), (ENCODED, self.encoded), (QUESTION_VECTORS, self.question_vectors))


def load(folder: Path) -> Dataset:
    """Load what `Dataset.write` wrote; the vectors are mapped, so that processes share their memory."""
    given, encoded, question_vectors = (
        np.load(folder / name, mmap_mode="r") for name in (GIVEN, ENCODED, QUESTION_VECTORS)
    )
    texts, questions = (json.loads((folder / name).read_text()) for name in (TEXTS, QUESTIONS))
    return Dataset(texts, given, encoded, questions, question_vectors)
