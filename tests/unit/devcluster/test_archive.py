"""An image of one binary is a valid OCI layout, with the same bytes each time."""

import hashlib
import json
import tarfile
from pathlib import Path

from devcluster.images.archive import Archive, write_single_binary

NAME = "example.test/tool:v1"


def write_image(folder: Path, file: str, content: bytes = b"\x7fELF") -> Path:
    """Write an image of a binary called `tool`."""
    (folder / "tool").write_bytes(content)
    write_single_binary(folder / file, NAME, folder / "tool", "amd64")
    return folder / file


def test_oci_layout_digests_match_blobs(tmp_path: Path) -> None:
    """Every blob from the index down to the layer exists and has the digest and size that name it."""
    with tarfile.open(write_image(tmp_path, "image.tar")) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    index = json.loads(files["index.json"])
    manifest = json.loads(files["blobs/sha256/" + index["manifests"][0]["digest"].removeprefix("sha256:")])
    for described in (index["manifests"][0], manifest["config"], *manifest["layers"]):
        blob = files["blobs/sha256/" + described["digest"].removeprefix("sha256:")]
        assert hashlib.sha256(blob).hexdigest() == described["digest"].removeprefix("sha256:")
        assert len(blob) == described["size"]


def test_image_archive_is_reproducible(tmp_path: Path) -> None:
    """The same binary gives the same bytes: a digest that changed for no reason would be loaded again each time."""
    first, again, other = write_image(tmp_path, "a"), write_image(tmp_path, "b"), write_image(tmp_path, "c", b"other")
    assert first.read_bytes() == again.read_bytes()
    assert Archive.read(NAME, first).digest == Archive.read(NAME, again).digest != Archive.read(NAME, other).digest
