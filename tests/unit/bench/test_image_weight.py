"""The size of an image is split exactly by origin: base, each distribution, and the remainder."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bench.image_weight import OTHER, Layer, dependents, layers, rows, shared, weights
from devcluster.images.archive import write_single_binary

SITE = "opt/venv/lib/python3.11/site-packages"
RECORD = f"{SITE}/The_Thing-1.2.dist-info/RECORD"
THING = Layer(
    "sha256:a",
    packed=10,
    files={
        f"{SITE}/thing/core.py": 100,
        f"{SITE}/thing/__pycache__/core.cpython-311.pyc": 50,
        "opt/venv/bin/thing": 7,
        RECORD: 3,
        f"{SITE}/stray.py": 11,
        f"{SITE}/__pycache__/stray.cpython-311.pyc": 5,
    },
    records={RECORD: "thing/core.py,sha256=x,100\n../../../bin/thing,,\nThe_Thing-1.2.dist-info/RECORD,,\n"},
)


def test_distribution_weight_includes_record_files_and_bytecode() -> None:
    """A distribution owns the files of its RECORD and their .pyc files; files of no distribution are counted, too."""
    assert weights([THING]) == {"the-thing": 160, OTHER: 16}


def test_file_in_several_layers_counts_with_its_last_size() -> None:
    """A file that occurs in several layers counts once, with its size in the last of them."""
    later = Layer("sha256:b", 1, {f"{SITE}/thing/core.py": 1}, {})
    assert weights([THING, later])["the-thing"] == 61


@given(st.lists(st.sampled_from("abc"), max_size=5), st.lists(st.sampled_from("abc"), max_size=5))
def test_base_is_longest_common_layer_prefix(first: list[str], second: list[str]) -> None:
    """The base is the longest common prefix of two lists of layers."""
    one, two = ([Layer(digest, 0, {}, {}) for digest in digests] for digests in (first, second))
    count = shared(one, two)
    assert first[:count] == second[:count]
    assert first[: count + 1] != second[: count + 1] or count == min(len(first), len(second))


def test_dependents_of_distribution_are_listed_once() -> None:
    """Each dependent of a distribution is listed once, even if required on several lines or under two markers."""
    locked = (
        "one==1 \\\n    --hash=sha256:0\n    # via somabrain (pyproject.toml)\n"
        "two==1 ; python_version < '3.12' \\\n    --hash=sha256:0\n"
        "    # via\n    #   somabrain (pyproject.toml)\n    #   one\n"
        "two==2 ; python_version >= '3.12' \\\n    --hash=sha256:0\n    # via\n    #   one\n"
    )
    assert dependents(locked) == {"one": ("somabrain",), "two": ("somabrain", "one")}


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(0, 100)), st.integers(0, 100))
def test_rows_are_sorted_by_size_and_sum_to_total(weighed: dict[str, int], least: int) -> None:
    """Rows are sorted by size and sum to the whole; small distributions share the last row."""
    listed = list(rows(weighed, {}, least))
    assert sum(size for *_, size in listed) == sum(weighed.values())
    heavy = [size for size in weighed.values() if size >= least]
    assert [size for *_, size in listed][: len(heavy)] == sorted(heavy, reverse=True)
    assert len(listed) == len(heavy) + (len(heavy) < len(weighed))


def test_archive_layers_round_trip(tmp_path: Path) -> None:
    """An archive has one layer whose content is the program, and is at least as large as the program."""
    program = tmp_path / "program"
    program.write_bytes(b"x" * 1000)
    write_single_binary(tmp_path / "image.tar", "image:1", program, "amd64")
    (layer,) = layers(tmp_path / "image.tar")
    assert layer.files == {"program": 1000}
    assert layer.unpacked == 1000 <= layer.packed
