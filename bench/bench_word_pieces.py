"""CPU time to compare the word pieces of a query with those of a shortlist, by each instruction set of this processor.

    make bench-word-pieces
    make bench-word-pieces OPTIONS="--texts 200 --pieces 38 --query-pieces 12 --dimensions 384"

The reference is the definition in numpy, measured in turns with the kernel. All give the same numbers.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import somabrain_kernel
from numpy.typing import NDArray

from somabrain_service.domain.token_vectors import max_similarities, quantize, query_tokens

ROUNDS = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("texts", 200), ("pieces", 38), ("query-pieces", 12), ("dimensions", 384)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    chance = np.random.default_rng(0)

    def units(count: int) -> NDArray[np.float32]:
        drawn = chance.standard_normal((count, arguments.dimensions))
        return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)

    query = query_tokens(units(arguments.query_pieces), np.zeros((arguments.query_pieces, 2), np.int32))
    texts = [quantize(units(arguments.pieces)) for _ in range(arguments.texts)]

    def by_kernel(instruction_set: str) -> Callable[[], object]:
        return lambda: somabrain_kernel.max_similarities(texts, query.codes, query.scales, instruction_set)

    calls = {name: by_kernel(name) for name in somabrain_kernel.instruction_sets()}
    calls["numpy"] = lambda: max_similarities(query, texts)
    durations: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            begin = time.process_time()
            call()
            durations[name].append(time.process_time() - begin)
    print(f"{sum(map(len, texts)) / 1e6:.2f} MB of token vectors, CPU time, median of {ROUNDS}")
    reference = statistics.median(durations["numpy"])
    for name, measured in durations.items():
        median = statistics.median(measured)
        print(f"{name:>12}  {median * 1e3:7.3f} ms  {median / reference:.3f} of numpy")


if __name__ == "__main__":
    main()
