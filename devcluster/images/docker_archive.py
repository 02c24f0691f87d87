"""Docker archives, which `docker save` writes before Docker 25, and their conversion to the OCI image layout."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from devcluster.errors import LocalError
from devcluster.images.archive import PREFIX, add_file, layout_head

CHUNK = 1 << 20


def is_oci_layout(archive: Path) -> bool:
    """Return whether a tar file is an OCI image layout."""
    with tarfile.open(archive) as tar:
        return "index.json" in tar.getnames()


def convert(source: Path, target: Path, name: str) -> None:
    """Write the one image of the Docker archive `source` to `target` as an OCI image layout, under `name`.

    Configuration and layers keep their bytes, and with them their digests; no layer is held in memory.

    Raises:
        LocalError: `source` is not a Docker archive of one image.
    """
    with tarfile.open(source) as docker, tarfile.open(target, "w") as tar:
        config_path, layer_paths = _contents(docker, source)
        layout = _Layout(tar)
        config = layout.copy(docker, config_path, f"{PREFIX}.config.v1+json")
        layers = [layout.copy(docker, path, f"{PREFIX}.layer.v1.tar") for path in layer_paths]
        media_type = f"{PREFIX}.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers}
        for path, content in layout_head(name, layout.write(json.dumps(manifest).encode(), media_type)).items():
            add_file(tar, path, content)


Described = dict[str, str | int]


@dataclass
class _Layout:
    """Blobs of a layout that is being written; each is written once, however often it is named."""

    tar: tarfile.TarFile
    _written: set[str] = field(default_factory=set)

    def copy(self, docker: tarfile.TarFile, path: str, media_type: str) -> Described:
        """Copy a file of a Docker archive, and return its descriptor."""
        digest, size = hashlib.sha256(), 0
        for chunk in _chunks(_open(docker, path)):
            digest.update(chunk)
            size += len(chunk)
        member = tarfile.TarInfo(f"blobs/sha256/{digest.hexdigest()}")
        member.size, member.mode = size, 0o644
        if member.name not in self._written:
            self._written.add(member.name)
            self.tar.addfile(member, _open(docker, path))
        return {"mediaType": media_type, "digest": f"sha256:{digest.hexdigest()}", "size": size}

    def write(self, content: bytes, media_type: str) -> Described:
        """Write a blob, and return its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        add_file(self.tar, f"blobs/sha256/{digest}", content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _contents(docker: tarfile.TarFile, source: Path) -> tuple[str, list[str]]:
    """Return the paths of the configuration and of the layers, lowest first."""
    try:
        images = json.load(_open(docker, "manifest.json"))
    except KeyError as error:
        raise LocalError(f"{source} is neither an OCI image layout nor a Docker archive: {error.args[0]}.") from error
    if len(images) != 1:
        raise LocalError(f"{source} has {len(images)} images; an archive of one image is needed.")
    return images[0]["Config"], images[0]["Layers"]


def _open(docker: tarfile.TarFile, path: str) -> IO[bytes]:
    """Open a file; a link, which Docker writes for a layer that occurs twice, is followed."""
    file = docker.extractfile(path)
    if file is None:
        raise LocalError(f"{path} in a Docker archive is not a file.")
    return file


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(CHUNK), b"")
