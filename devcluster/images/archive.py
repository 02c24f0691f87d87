"""An image as one tar file in the OCI image layout (OCI image specification 1.1)."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIX = "application/vnd.oci.image"


@dataclass(frozen=True, slots=True)
class Archive:
    """A finished archive, the image's full name, and the digest of its manifest."""

    name: str
    path: Path
    digest: str

    @classmethod
    def read(cls, name: str, path: Path) -> Archive:
        """Return the archive at `path`, its digest read from its index."""
        with tarfile.open(path) as tar:
            member = tar.extractfile("index.json")
            assert member is not None
            return cls(name, path, json.load(member)["manifests"][0]["digest"])


def write_single_binary(path: Path, name: str, binary: Path, architecture: str) -> None:
    """Write an image that holds one static program and nothing else, the same bytes each time."""
    layer = _tar({binary.name: binary.read_bytes()}, mode=0o755)
    blobs: dict[str, bytes] = {}

    def blob(media_type: str, content: bytes) -> dict[str, str | int]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    layer_blob = blob(f"{PREFIX}.layer.v1.tar", layer)
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": [f"/{binary.name}"], "Env": ["PATH=/"], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [layer_blob["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{PREFIX}.manifest.v1+json",
        "config": blob(f"{PREFIX}.config.v1+json", json.dumps(config).encode()),
        "layers": [layer_blob],
    }
    described = blob(f"{PREFIX}.manifest.v1+json", json.dumps(manifest).encode())
    path.write_bytes(_tar({**layout_head(name, described), **blobs}, mode=0o644))


def layout_head(name: str, manifest: Mapping[str, str | int]) -> dict[str, bytes]:
    """Return the files of a layout besides its blobs, for one image called `name` with the described manifest."""
    named = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    index = {"schemaVersion": 2, "manifests": [{**manifest, "annotations": named}]}
    return {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index).encode()}


def add_file(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    """Add a file with fixed time and owner to `tar`."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))


def _tar(files: Mapping[str, bytes], *, mode: int) -> bytes:
    """Return a tar of `files` with fixed times and owners."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            add_file(tar, name, content, mode=mode)
    return buffer.getvalue()
