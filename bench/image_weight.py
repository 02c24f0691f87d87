"""Size of an image by component: its layers as values, and sums over them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import source_from_cache
from pathlib import Path
from posixpath import basename, dirname, join, normpath

RECORD = re.compile(r"(?P<site>.*/site-packages)/(?P<name>[^/]+)-[^-/]+\.dist-info/RECORD")
REQUIREMENT = re.compile(r"(?P<name>[a-z0-9-]+)==")
OTHER = "the environment itself"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its size in the archive, its files' sizes, and the RECORD of each distribution in it, in bytes."""

    digest: str
    packed: int
    files: Mapping[str, int]
    records: Mapping[str, str]

    @property
    def unpacked(self) -> int:
        """Total size of all files in bytes."""
        return sum(self.files.values())


def layers(archive: Path) -> tuple[Layer, ...]:
    """Return the layers of an archive in the OCI image layout, the lowest first."""
    with tarfile.open(archive) as image:

        def blob(digest: str) -> bytes:
            member = image.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
            assert member is not None
            return member.read()

        index = image.extractfile("index.json")
        assert index is not None
        manifest = json.loads(blob(json.load(index)["manifests"][0]["digest"]))
        return tuple(_layer(each["digest"], blob(each["digest"])) for each in manifest["layers"])


def _layer(digest: str, packed: bytes) -> Layer:
    files: dict[str, int] = {}
    records: dict[str, str] = {}
    plain = gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        for member in tar:
            if not member.isfile():
                continue
            path = normpath(member.name)
            files[path] = member.size
            if RECORD.fullmatch(path):
                text = tar.extractfile(member)
                assert text is not None
                records[path] = text.read().decode()
    return Layer(digest, len(packed), files, records)


def shared(first: Sequence[Layer], second: Sequence[Layer]) -> int:
    """Return the number of common lowest layers: the base of both images, which a node stores once."""
    pairs = zip(first, second, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a.digest != b.digest), min(len(first), len(second)))


def weights(above: Iterable[Layer]) -> Counter[str]:
    """Return the bytes of each distribution in the layers, and under `OTHER` those of no distribution.

    Compiled files count for the distribution of their source, although its RECORD does not list them.
    """
    owner: dict[str, str] = {}
    files: dict[str, int] = {}
    for layer in above:
        files |= layer.files
        for path, text in layer.records.items():
            match = RECORD.fullmatch(path)
            assert match is not None
            name = canonical(match["name"])
            owner |= {normpath(join(match["site"], row[0])): name for row in csv.reader(text.splitlines()) if row}
    weighed: Counter[str] = Counter()
    for path, size in files.items():
        compiled = path.endswith(".pyc") and basename(dirname(path)) == "__pycache__"
        weighed[owner.get(source_from_cache(path) if compiled else path, OTHER)] += size
    return weighed


def canonical(name: str) -> str:
    """Return the normalized name of a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def dependents(requirements: str) -> dict[str, tuple[str, ...]]:
    """Return the dependents of each locked distribution, from the comments that uv writes below it."""
    by_distribution: dict[str, dict[str, None]] = {}
    current: dict[str, None] = {}
    for line in requirements.splitlines():
        if match := REQUIREMENT.match(line):
            current = by_distribution.setdefault(match["name"], {})
        elif line.startswith("    #"):
            word = line.strip("# ").removeprefix("via").removesuffix("(pyproject.toml)").strip()
            current |= {word: None} if word else {}
    return {name: tuple(by) for name, by in by_distribution.items()}


def rows(
    weighed: Mapping[str, int], required_by: Mapping[str, tuple[str, ...]], least: int
) -> Iterator[tuple[str, str, int]]:
    """Yield name, dependents and bytes, the largest first; those below `least` bytes are summed in one row."""
    light = {name: size for name, size in weighed.items() if size < least}
    for name, size in sorted(weighed.items(), key=lambda item: (-item[1], item[0])):
        if name not in light:
            yield name, ", ".join(required_by.get(name, ())), size
    if light:
        yield f"{len(light)} more", "", sum(light.values())
