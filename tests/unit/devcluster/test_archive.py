"""An image of one binary is a valid OCI layout, with the same bytes each time."""

import hashlib
import json
import tarfile
from pathlib import Path

from devcluster.images.archive import Archive, write_single_binary

NAME = "example.test/tool:v1"


def make(folder: Path, file: str, content: bytes = b"\x7fELF") -> Path:
    """Write an image of a binary called `tool`."""
    (folder / "tool").write_bytes(content)
    write_single_binary(folder / file, NAME, folder / "tool", "amd64")
    return folder / file


def test_every_digest_in_the_layout_is_that_of_its_blob(tmp_path: Path) -> None:
    """Every blob from the index down to the layer exists and has the digest and size that name it."""
    with tarfile.open(make(tmp_path, "image.tar")) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    index = json.loads(files["index.json"])
    manifest = json.loads(files["blobs/sha256/" + index["manifests"][0]["digest"].removeprefix("sha256:")])
    for described in (index["manifests"][0], manifest["config"], *manifest["layers"]):
        blob = files["blobs/sha256/" + described["digest"].removeprefix("sha256:")]
        assert hashlib.sha256(blob).hexdigest() == described["digest"].removeprefix("sha256:")
        assert len(blob) == described["size"]


def test_the_same_binary_makes_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    """Builds are reproducible: a digest that changed without reason would be loaded again each time."""
    first, again, other = make(tmp_path, "a"), make(tmp_path, "b"), make(tmp_path, "c", b"other")
    assert first.read_bytes() == again.read_bytes()
    assert Archive.read(NAME, first).digest == Archive.read(NAME, again).digest != Archive.read(NAME, other).digest
