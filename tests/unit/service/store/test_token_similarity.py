"""The native kernel compares word pieces like the reference implementation, equal to the last bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import somabrain_kernel
from hypothesis import example, given
from hypothesis import strategies as st

from somabrain_service.domain import token_vectors
from somabrain_service.domain.token_vectors import QueryTokens, max_similarities, quantize, query_tokens
from somabrain_service.store import token_similarity

INSTRUCTION_SETS = somabrain_kernel.instruction_sets()
every_instruction_set = pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)


@dataclass(frozen=True)
class Drawn:
    """Numbers of dimensions, of a query's pieces, and of each text's; how vectors are drawn."""

    dimensions: int
    query: int
    texts: list[int]
    spread: float = 1.0
    seed: int = 0

    def build(self) -> tuple[QueryTokens, list[bytes]]:
        chance = np.random.default_rng(self.seed)
        shared = chance.normal(size=self.dimensions)

        def vectors(count: int) -> np.ndarray:
            drawn = shared + self.spread * chance.standard_normal((count, self.dimensions))
            drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
            return drawn.astype(np.float32)

        spans = np.zeros((self.query, 2), np.int32)
        return query_tokens(vectors(self.query), spans), [quantize(vectors(count)) for count in self.texts]


drawn_states = st.builds(
    Drawn,
    dimensions=st.sampled_from([4, 8, 30, 384, 386, 1024, 1_500]),
    query=st.integers(0, 9) | st.sampled_from([12, 40]),
    texts=st.lists(st.integers(0, 9) | st.sampled_from([38, 255, 256]), max_size=4),
    spread=st.sampled_from([0.01, 1.0, 100.0]),
    seed=st.integers(0, 2**32 - 1),
)


@every_instruction_set
@given(drawn=drawn_states)
@example(drawn=Drawn(8, 1, [0, 1, 256]))
@example(drawn=Drawn(384, 12, [38] * 7))
@example(drawn=Drawn(386, 5, [1, 0, 17]))
@example(drawn=Drawn(1024, 4, [256]))
@example(drawn=Drawn(4096, 3, [2, 11]))
def test_kernel_matches_reference_implementation(drawn: Drawn, instruction_set: str) -> None:
    query, texts = drawn.build()
    buffer = somabrain_kernel.max_similarities(texts, query.codes, query.scales, instruction_set)
    expected = max_similarities(query, texts)
    assert buffer == (expected + 0.0).tobytes()  # a sum of zeros may be -0.0 in numpy
    assert token_similarity.max_similarities(query, texts).tobytes() == buffer
    if drawn.query and any(drawn.texts) and drawn.spread < 1:
        assert expected.max() > 0.5  # the vectors are alike: equal zeros would prove nothing


@every_instruction_set
def test_largest_products_do_not_overflow(instruction_set: str) -> None:
    for dimensions, sign in [(4096, 1), (4096, -1), (384, 1), (1_280, -1)]:
        codes = np.full((5, dimensions), 127 * sign, np.int8)
        query = QueryTokens(codes, np.full(5, 0.5), np.zeros((5, 2), np.int32))
        pieces = token_vectors.quantize(np.where(np.arange(2)[:, None], 1.0, -1.0) * np.ones(dimensions, np.float32))
        codes_begin = 2 * 2
        data = pieces[:codes_begin] + b"\xff" * (dimensions // 4) + b"\x00" * (dimensions // 4)
        buffer = somabrain_kernel.max_similarities([data], query.codes, query.scales, instruction_set)
        similarity = max_similarities(query, [data])
        assert similarity.min() > 0
        assert buffer == similarity.tobytes()


def test_text_with_other_dimensions_is_rejected() -> None:
    query, _ = Drawn(8, 1, []).build()
    _, texts = Drawn(12, 1, [1, 1]).build()
    _, equal = Drawn(8, 1, [2]).build()
    with pytest.raises(ValueError, match="the word pieces of text 1 have another number of dimensions"):
        somabrain_kernel.max_similarities([*equal, *texts], query.codes, query.scales)
    for codes, scales in [(query.codes[:, :6], query.scales), (query.codes, np.zeros(2)), (query.codes[0], np.ones(1))]:
        with pytest.raises(ValueError, match=r"codes must be int8\[t, d\]"):
            somabrain_kernel.max_similarities([], np.ascontiguousarray(codes), scales)
