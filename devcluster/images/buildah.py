"""Image builds with buildah, with storage in the user's cache; needs neither daemon nor registry."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devcluster import shell
from devcluster.environment import LocalPaths, package_index
from devcluster.errors import CommandFailed, LocalError

CERTIFICATES = Path("/etc/ssl/certs")
BUNDLE = CERTIFICATES / "ca-certificates.crt"


def build_arguments(index: Mapping[str, str], *, bundle: bool) -> dict[str, str]:
    """Return the build arguments that make pip, uv and cargo in a build use the host's index and certificates."""
    arguments = dict(index)
    if url := index.get("PIP_INDEX_URL"):
        arguments["UV_DEFAULT_INDEX"] = url
    if bundle:
        arguments |= {"PIP_CERT": str(BUNDLE), "SSL_CERT_FILE": str(BUNDLE), "CARGO_HTTP_CAINFO": str(BUNDLE)}
    return arguments


@dataclass(frozen=True, slots=True)
class Buildah:
    """The buildah program with its storage in the cache."""

    paths: LocalPaths

    def require_root(self, name: str) -> None:
        """Return if images can be built here.

        Raises:
            LocalError: this user is not root, so `name` must be pulled.
        """
        if os.geteuid() != 0:
            raise LocalError(
                f"{name} cannot be pulled, and building it needs root: run it with sudo, or name a registry mirror."
            )

    def image_id(self, name: str) -> str | None:
        """Return the id of a local image, or None if no image has that name."""
        try:
            described = shell.run(self._argv("inspect", "--type", "image", name), timeout_s=60)
        except CommandFailed:
            return None
        return str(json.loads(described)["FromImageID"])

    def pull(self, name: str, timeout_s: float) -> bool:
        """Pull `name` and return whether that succeeded within `timeout_s`."""
        return shell.succeeds(self._argv("pull", "--quiet", "--retry", "0", name), timeout_s=timeout_s)

    def build(
        self, name: str, dockerfile: Path, context: Path, version: str = "", more: Mapping[str, Path] | None = None
    ) -> None:
        """Build `dockerfile` as `name` without pulling; `more` are additional build contexts by name."""
        arguments = build_arguments(package_index(), bundle=BUNDLE.exists())
        arguments |= {"VERSION": version} if version else {}
        passed = [word for pair in arguments.items() for word in ("--build-arg", "=".join(pair))]
        mounted = ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"] if BUNDLE.exists() else []
        mounted += [word for pair in (more or {}).items() for word in ("--build-context", "=".join(map(str, pair)))]
        options = ["--isolation", "chroot", "--network", "host", "--pull=never", "--layers", "--format", "oci"]
        argv = self._argv("build", *options, *mounted, *passed, "--file", dockerfile, "--tag", name, context)
        shell.run(["nice", "-n", "5", *argv], log=self.paths.cache / "log" / f"image-{dockerfile.name}.log")

    def export(self, name: str, path: Path) -> None:
        """Write the local image `name` to `path` as an OCI archive."""
        shell.run(self._argv("push", "--quiet", "--disable-compression", name, f"oci-archive:{path}:{name}"))

    def export_for_docker(self, name: str, path: Path) -> None:
        """Write the local image `name` to `path` as a Docker archive, which every version of `docker load` reads."""
        shell.run(self._argv("push", "--quiet", name, f"docker-archive:{path}:{name}"))

    def _argv(self, command: str, *arguments: object) -> list[object]:
        storage = self.paths.cache / "buildah"
        driver = "vfs" if self.paths.on_overlay else "overlay"
        options = ["--root", storage / "root", "--runroot", storage / "run", "--storage-driver", driver]
        # In its own mount namespace, so that no mount of its storage outlives it.
        return ["unshare", "--mount", "buildah", *options, command, *arguments]
