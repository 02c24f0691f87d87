"""Tables of late interaction by the pure scorer: ablation, constants by leaving one conversation out, cuts, bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bench.ablation import K
from bench.late_scorer import FLOAT_BITS, Constants, Cut, LateQuestion, late_questions
from bench.token_similarity import BITS, EncodedConversation, bytes_per_piece
from somabrain_service.domain.ranking.late_interaction import MAX_TOKEN_BYTES, SHORTLIST_SIZE

DEFAULTS = Constants()
PARTS_OFF = Constants(meaning=0.5, before=0.0, after=0.0, question=0.0, speaker=1.0, exponent=1.0)
"""Constants that the search begins from: every part is off."""
GRID: dict[str, tuple[float, ...]] = {
    "meaning": (1 / 2, 3 / 5, 2 / 3, 3 / 4),
    "stop_word": (0.25, 0.5, 1.0),
    "before": (0.0, 0.3, 0.5, 0.7),
    "after": (0.0, 0.3, 0.5, 0.7),
    "question": (0.0, 0.2, 0.3, 0.4, 0.5),
    "speaker": (1.0, 1.1, 1.2, 1.3),
    "exponent": (1.0, 2.0, 3.0),
}
ABLATION = {
    "nothing: the defaults": DEFAULTS,
    "words (BM25) in the last ranking": replace(DEFAULTS, meaning=1.0),
    "meaning: words and neighbours of the shortlist alone": replace(DEFAULTS, meaning=0.0),
    "weights of the question's words": replace(DEFAULTS, idf=False),
    "squares": replace(DEFAULTS, exponent=1.0),
    "words that neighbours answer": replace(DEFAULTS, before=0.0, after=0.0),
    "the discount of questions": replace(DEFAULTS, question=0.0),
    "the factor of speakers": replace(DEFAULTS, speaker=1.0),
}


def ablation(conversations: Sequence[Sequence[LateQuestion]]) -> Iterator[tuple[str, float]]:
    """Yield each removed part and the evidence recall without it."""
    for label, constants in ABLATION.items():
        yield label, _mean([one.recall(constants, K) for conversation in conversations for one in conversation])


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Constants that are best on all conversations but one, and the recall on that one, and with the defaults."""

    conversation: int
    constants: Constants
    recall: float
    default: float


@dataclass
class LeaveOneOut:
    """Choice of constants by coordinate ascent: one at a time over `GRID`, until none of them gives more."""

    conversations: Sequence[Sequence[LateQuestion]]
    _recalls: dict[tuple[Constants, int], list[float]] = field(default_factory=dict)

    def results(self) -> Iterator[LeftOut]:
        """Yield the choice without each conversation in turn."""
        for left_out in range(len(self.conversations)):
            chosen = self._best([number for number in range(len(self.conversations)) if number != left_out])
            yield LeftOut(left_out, chosen, _mean(self._of(chosen, left_out)), _mean(self._of(DEFAULTS, left_out)))

    def figure(self, results: Sequence[LeftOut]) -> float:
        """Return the mean over all questions, each with the constants that its conversation had no part in."""
        return _mean([recall for one in results for recall in self._of(one.constants, one.conversation)])

    def _best(self, numbers: Sequence[int]) -> Constants:
        chosen, best = PARTS_OFF, -1.0
        while (figure := self._figure(chosen, numbers)) > best:
            best = figure
            for name, values in GRID.items():
                candidates = [chosen, *(_with(chosen, name, value) for value in values)]
                chosen = max(candidates, key=lambda one: self._figure(one, numbers))
        return chosen

    def _figure(self, constants: Constants, numbers: Sequence[int]) -> float:
        return _mean([recall for number in numbers for recall in self._of(constants, number)])

    def _of(self, constants: Constants, number: int) -> list[float]:
        key = (constants, number)
        if key not in self._recalls:
            self._recalls[key] = [one.recall(constants, K) for one in self.conversations[number]]
        return self._recalls[key]


@dataclass(frozen=True, slots=True)
class Overlap:
    """The first ten over all memories beside those of the shortlist: share of equal sets, mean share in common."""

    equal: float
    common: float
    recall: float


def overlap(everything: Sequence[LateQuestion], shortlisted: Sequence[LateQuestion]) -> Overlap:
    """Compare questions whose shortlist is all memories with the same ones after the cut."""
    shares = []
    for whole, one in zip(everything, shortlisted, strict=True):
        expected = set(whole.order(DEFAULTS)[:K].tolist())
        shares.append(len(expected & set(one.order(DEFAULTS)[:K].tolist())) / len(expected))
    equal = sum(share == 1 for share in shares) / len(shares)
    return Overlap(equal, _mean(shares), _mean([one.recall(DEFAULTS, K) for one in everything]))


@dataclass(frozen=True, slots=True)
class Precision:
    """Recall with vectors in a number of bits, `None`: as the network makes them, and what that takes.

    `bytes_per_memory`: of token vectors, mean. `shortlist`: mean number of memories within the bound of bytes.
    `unbounded`: recall with the shortlist's number alone.
    """

    bits: int | None
    bytes_per_memory: float
    shortlist: float
    recall: float
    unbounded: float


def precisions(encoded: Sequence[EncodedConversation]) -> Iterator[Precision]:
    """Yield the figures of each number of bits, the fewest first, and of float32 at the end."""
    pieces = _mean([float(count) for one in encoded for count in one.pieces])
    dimensions = len(encoded[0].turns[0].vector)
    for bits in (*BITS, None):
        bounded, unbounded = map(_flat, late_questions(encoded, (Cut(), Cut(bytes=None)), bits))
        yield Precision(
            bits,
            pieces * bytes_per_piece(dimensions, bits or FLOAT_BITS),
            _mean([float(len(one.rows)) for one in bounded]),
            _mean([one.recall(DEFAULTS, K) for one in bounded]),
            _mean([one.recall(DEFAULTS, K) for one in unbounded]),
        )


def print_tables(encoded: Sequence[EncodedConversation]) -> None:
    """Print all tables."""
    shortlisted, everything = late_questions(encoded, (Cut(), Cut(None, None)))
    print(f"\n| everything without | evidence recall@{K} | by |\n| --- | ---: | --- |")
    for label, figure in ablation(shortlisted):
        print(f"| {label} | {figure:.3f} | scorer |", flush=True)
    _print_left_out(encoded, shortlisted)
    of_all = overlap(_flat(everything), _flat(shortlisted))
    print(
        f"\nThe first {K} over all memories are those of the shortlist (at most {SHORTLIST_SIZE} memories and "
        f"{MAX_TOKEN_BYTES // 2**20} MiB) for {of_all.equal:.1%} of the questions; {of_all.common:.1%} of them are the "
        f"same. Evidence recall@{K} over all memories: {of_all.recall:.3f}."
    )
    print(
        f"\n| bits per number | bytes a memory | memories in {MAX_TOKEN_BYTES // 2**20} MiB | evidence recall@{K} |"
        f" with {SHORTLIST_SIZE} memories |\n| ---: | ---: | ---: | ---: | ---: |"
    )
    for one in precisions(encoded):
        bits = "32 (float)" if one.bits is None else one.bits
        print(
            f"| {bits} | {one.bytes_per_memory:,.0f} | {one.shortlist:.0f} | {one.recall:.3f} | {one.unbounded:.3f} |",
            flush=True,
        )


def _print_left_out(encoded: Sequence[EncodedConversation], shortlisted: Sequence[Sequence[LateQuestion]]) -> None:
    if len(shortlisted) < 2:
        print("\nOne conversation: the constants cannot be chosen on others.")
        return
    print(
        f"\n| left out | {' | '.join(GRID)} | evidence recall@{K} there | with the defaults |\n"
        f"| --- | {'---: | ' * len(GRID)}---: | ---: |"
    )
    choice = LeaveOneOut(shortlisted)
    results = []
    for one in choice.results():
        results.append(one)
        constants = " | ".join(f"{getattr(one.constants, name):.3g}" for name in GRID)
        name = encoded[one.conversation].conversation.name
        print(f"| {name} | {constants} | {one.recall:.3f} | {one.default:.3f} |", flush=True)
    print(f"\nEvidence recall@{K} with constants chosen on the other conversations: {choice.figure(results):.3f}.")


def _with(constants: Constants, name: str, value: float) -> Constants:
    change: dict[str, Any] = {name: value}
    return replace(constants, **change)


def _flat(conversations: Sequence[Sequence[LateQuestion]]) -> list[LateQuestion]:
    return [one for conversation in conversations for one in conversation]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
