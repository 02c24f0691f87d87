"""The comparison with other systems computes ratios per round, and prints one table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.peers.dataset import Dataset, load
from bench.peers.figures import Rounds, Sample
from bench.peers.table import Row, significant, table


def test_sample_merges_clients_and_excludes_late_calls_from_rate() -> None:
    """The rate has the completed calls of all clients, the median all latencies."""
    replies = [
        {"completed": 2, "durations_ms": [1.0, 2.0, 9.0]},
        {"completed": 2, "durations_ms": [3.0, 4.0]},
    ]
    assert Sample.of(replies, 2) == Sample(rate=2, p50_ms=3)
    with pytest.raises(ValueError, match="no client made a call"):
        Sample.of([{"completed": 0, "durations_ms": []}], 2)
    with pytest.raises(ValueError, match="a reply has no figures"):
        Sample.of([{}], 2)


def test_ratio_is_computed_per_round() -> None:
    """A machine that becomes slower between rounds changes the figures, and not their ratio."""
    rounds = Rounds()
    for slowness in (1.0, 3.0, 10.0):
        rounds.add("a", 2 * slowness)
        rounds.add("b", 4 * slowness)
    assert rounds.ratio("a", "b") == 0.5
    assert rounds.median("a") == 6
    assert rounds.ratio("a", "c") is None
    assert rounds.median("c") is None
    rounds.add("a", 1)
    with pytest.raises(ValueError, match="argument"):
        rounds.ratio("a", "b")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.0"), (0.0123, "0.012"), (0.48, "0.48"), (2.345, "2.3"), (12.6, "13"), (366.4, "366"), (2150.0, "2,150")],
)
def test_significant_has_two_digits_and_whole_integer_part(value: float, text: str) -> None:
    """Small numbers have two significant digits; larger ones have no decimals."""
    assert significant(value) == text


def test_table_has_ratio_column_for_each_peer() -> None:
    """A figure that a system lacks is a dash, and so is its ratio."""
    row = Row("search", " ms")
    row.rounds.add("own", 3.0)
    row.rounds.add("other", 6.0)
    titles = {"empty": "empty handler", "own": "SomaBrain", "other": "another"}
    assert table([row], titles, "own").splitlines() == [
        "|  | empty handler | SomaBrain | another | ratio to empty handler | ratio to another |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| search | — | 3.0 ms | 6.0 ms | — | 0.50 |",
    ]


def test_dataset_round_trip(tmp_path: Path) -> None:
    """Data are loaded as written, indices wrap around, and nearest neighbours are exact."""
    given = np.eye(4, dtype=np.float32)
    Dataset(["a", "b", "c", "d"], given, given[:2], ["q"], given[2:3]).write(tmp_path)
    data = load(tmp_path)
    item = data.item(5, data.given, "s1")
    assert (item.text, item.vector, item.session) == ("b", [0.0, 1.0, 0.0, 0.0], "s1")
    assert data.item(1, None, "").vector is None
    assert data.question(7, vector=True) == ("q", [0.0, 0.0, 1.0, 0.0])
    assert data.question(7, vector=False) == ("q", None)
    assert data.nearest(0, among=4, count=1) == {"c"}
