"""Archives that the image builder writes for Docker are converted back without loss."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from devcluster import debian
from devcluster.environment import local_paths
from devcluster.images.buildah import Buildah
from devcluster.images.docker_archive import convert, is_oci_layout
from devcluster.progress import Progress

NAME = "localhost/somabrain-test-archive:latest"


@pytest.mark.timeout(300)
def test_docker_archive_converts_to_identical_oci_image(tmp_path: Path) -> None:
    """An image exported as a Docker archive and converted has the uncompressed layers of its own OCI export."""
    paths = local_paths()
    debian.ensure(debian.IMAGES, paths, Progress(paths.cache / "durations.json"))
    (tmp_path / "one").write_text("one\n")
    (tmp_path / "two").write_text("two\n")
    (tmp_path / "Dockerfile.archive").write_text("FROM scratch\nCOPY one /\nCOPY two /\n")
    buildah = Buildah(paths)
    buildah.build(NAME, tmp_path / "Dockerfile.archive", tmp_path)
    buildah.export(NAME, tmp_path / "oci.tar")
    buildah.export_for_docker(NAME, tmp_path / "docker.tar")
    assert not is_oci_layout(tmp_path / "docker.tar")
    convert(tmp_path / "docker.tar", tmp_path / "converted.tar", NAME)
    _, diff_ids = layers(tmp_path / "oci.tar")
    digests, converted_diff_ids = layers(tmp_path / "converted.tar")
    assert len(diff_ids) >= 1
    assert digests == converted_diff_ids == diff_ids


def layers(path: Path) -> tuple[list[str], list[str]]:
    """Return the digests of an image's layers as stored, and as its configuration names them uncompressed."""
    with tarfile.open(path) as tar:

        def read(name: str) -> Any:
            file = tar.extractfile(name)
            assert file is not None
            return json.load(file)

        def blob(described: Any) -> Any:
            return read("blobs/sha256/" + described["digest"].removeprefix("sha256:"))

        manifest = blob(read("index.json")["manifests"][0])
        return [layer["digest"] for layer in manifest["layers"]], blob(manifest["config"])["rootfs"]["diff_ids"]
