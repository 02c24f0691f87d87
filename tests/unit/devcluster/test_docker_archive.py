"""A Docker archive becomes an OCI image layout of the same configuration and layers."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from devcluster.errors import LocalError
from devcluster.images.archive import Archive, write_single_binary
from devcluster.images.docker_archive import convert, is_oci_layout

NAME = "example.test/tool:v1"
LAYER, UPPER = b"lower layer", b"upper layer"
CONFIG = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers"}}).encode()


def docker_archive(path: Path, layers: dict[str, bytes | str], *, images: int = 1) -> Path:
    """Write an archive as Docker 20.10 does: a folder a layer; a value that is text is the link of a repeated layer."""
    manifest = [{"Config": "abc.json", "RepoTags": [NAME], "Layers": list(layers)}] * images
    with tarfile.open(path, "w") as tar:
        for name, content in {**layers, "abc.json": CONFIG, "manifest.json": json.dumps(manifest).encode()}.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def blobs(path: Path) -> dict[str, bytes]:
    """Return the files of a tar by their names, none of them twice."""
    with tarfile.open(path) as tar:
        names = tar.getnames()
        assert len(names) == len(set(names))
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_convert_preserves_config_and_layer_order(tmp_path: Path) -> None:
    """Every descriptor from the index down names a blob with its digest and size; a repeated layer is stored once."""
    layers: dict[str, bytes | str] = {"1/layer.tar": LAYER, "2/layer.tar": UPPER, "3/layer.tar": "../2/layer.tar"}
    source = docker_archive(tmp_path / "docker.tar", layers)
    assert not is_oci_layout(source)
    convert(source, tmp_path / "oci.tar", NAME)
    assert is_oci_layout(tmp_path / "oci.tar")
    files = blobs(tmp_path / "oci.tar")

    def read(described: dict[str, Any]) -> bytes:
        content = files["blobs/sha256/" + described["digest"].removeprefix("sha256:")]
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == described["digest"]
        assert len(content) == described["size"]
        return content

    (entry,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(read(entry))
    assert read(manifest["config"]) == CONFIG
    assert [read(layer) for layer in manifest["layers"]] == [LAYER, UPPER, UPPER]
    assert entry["annotations"]["io.containerd.image.name"] == NAME
    assert Archive.read(NAME, tmp_path / "oci.tar").digest == entry["digest"]


def test_oci_layout_is_detected(tmp_path: Path) -> None:
    """The output of the image builder is detected as an OCI layout, and not as a Docker archive."""
    (tmp_path / "tool").write_bytes(b"\x7fELF")
    write_single_binary(tmp_path / "image.tar", NAME, tmp_path / "tool", "amd64")
    assert is_oci_layout(tmp_path / "image.tar")


def test_archive_with_two_images_is_rejected(tmp_path: Path) -> None:
    """The error gives the number of images; the program does not choose one."""
    source = docker_archive(tmp_path / "docker.tar", {"1/layer.tar": LAYER}, images=2)
    with pytest.raises(LocalError, match="has 2 images"):
        convert(source, tmp_path / "oci.tar", NAME)


def test_tar_that_is_not_an_image_is_rejected(tmp_path: Path) -> None:
    """The error names the file, and both formats that it could have."""
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("readme"))
    with pytest.raises(LocalError, match=r"other\.tar is neither an OCI image layout nor a Docker archive"):
        convert(tmp_path / "other.tar", tmp_path / "oci.tar", NAME)
