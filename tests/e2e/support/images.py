"""The service image of the checkout, and later releases of it that differ only in their migrations.

A release is created without a build, as one more layer on the archive of the image (OCI image layout). The layer has
the files that a later release would change: its newest migration, and the number of its schema.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from devcluster.environment import chosen_provider, local_paths
from devcluster.images.table import DockerfileImage, project_images
from devcluster.progress import Progress
from devcluster.provider import Provider, choose
from devcluster.tools import Toolchain
from somabrain_service.store import schema

SITE = "opt/venv/lib/python3.11/site-packages/somabrain_service"
MIGRATION = '''"""{title}."""

from alembic import op

revision = "{number:04d}"
down_revision = "{before:04d}"


def upgrade() -> None:
    """{title}."""
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("""{sql}""")
    op.execute("UPDATE schema_info SET current = {number}")


def downgrade() -> None:
    """Undo it."""
    op.execute("UPDATE schema_info SET current = {before}")
'''


def service_image() -> str:
    """Return the name of the service image of the checkout."""
    return _service().name


def _service() -> DockerfileImage:
    (image,) = (
        image for image in project_images(local_paths().checkout) if image.name.split(":")[0].endswith("-service")
    )
    return image


def release(tag: str, title: str, sql: str) -> str:
    """Load a later release whose one new migration runs `sql` into the cluster; return its name."""
    number = schema.HEAD + 1
    schema_file = Path(schema.__file__)
    changed = schema_file.read_text().replace(f"HEAD = {schema.HEAD}", f"HEAD = {number}")
    assert changed != schema_file.read_text()
    files = {
        f"{SITE}/store/schema.py": changed,
        f"{SITE}/migrations/versions/{number:04d}_e2e.py": MIGRATION.format(
            title=title, number=number, before=schema.HEAD, sql=sql
        ),
    }
    name = f"{service_image().rpartition(':')[0]}:{tag}"
    cluster = provider()
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "made.tar"
        add_layer(cluster.archive(_service(), Path(folder)), archive, name, files)
        cluster.load_archive(archive)
    return name


def provider(checkout: Path | None = None) -> Provider:
    """Return the local cluster, with the images of another checkout if one is given."""
    paths = local_paths()
    paths = replace(paths, checkout=checkout) if checkout else paths
    return choose(chosen_provider(), Toolchain(paths, Progress(paths.cache / "durations.json")))


def add_layer(base: Path, target: Path, name: str, files: Mapping[str, str]) -> None:
    """Write `base` with one additional layer of `files`, as `name`."""
    layer = _tar({path: text.encode() for path, text in files.items()})
    with tarfile.open(base) as source:

        def read(digest: str) -> bytes:
            member = source.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
            assert member is not None
            return member.read()

        index_file = source.extractfile("index.json")
        assert index_file is not None
        index = json.load(index_file)
        entry = index["manifests"][0]
        manifest = json.loads(read(entry["digest"]))
        config = json.loads(read(manifest["config"]["digest"]))
        config["rootfs"]["diff_ids"].append(_digest(layer))
        config.setdefault("history", []).append({"created_by": "tests/e2e"})
        blobs = {each["digest"]: read(each["digest"]) for each in manifest["layers"]}
    blobs[_digest(layer)] = layer
    manifest["layers"].append(_described("application/vnd.oci.image.layer.v1.tar", layer))
    packed = json.dumps(config).encode()
    manifest["config"] = _described("application/vnd.oci.image.config.v1+json", packed)
    whole = json.dumps(manifest).encode()
    blobs |= {_digest(packed): packed, _digest(whole): whole}
    annotations = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    media_type = manifest.get("mediaType", "application/vnd.oci.image.manifest.v1+json")
    index["manifests"] = [{**_described(media_type, whole), "annotations": annotations}]
    content = {f"blobs/sha256/{digest.removeprefix('sha256:')}": blob for digest, blob in blobs.items()}
    head = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index).encode()}
    target.write_bytes(_tar({**head, **content}))


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _described(media_type: str, content: bytes) -> dict[str, str | int]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), 0o644, 1
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
