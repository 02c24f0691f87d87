"""Base image of the Dockerfiles: pulled, or built with debootstrap if it cannot be pulled."""

from __future__ import annotations

import platform
import shutil

from devcluster import shell
from devcluster.environment import inherited
from devcluster.errors import LocalError
from devcluster.images.buildah import Buildah
from devcluster.images.table import BASE
from devcluster.progress import Progress

PULL_TIMEOUT_S = 30.0
PACKAGES = "ca-certificates,python3,python3-venv"
DOCKERFILE = 'FROM scratch\nADD root.tar /\nENV LANG=C.UTF-8\nCMD ["python3"]\n'


def ensure_base(buildah: Buildah, progress: Progress) -> str:
    """Return the id of the local base image, pulling or building it first if it is missing."""
    with shell.locked(buildah.paths.cache / "locks" / "base"):
        if existing := buildah.image_id(BASE):
            return existing
        with progress.step(f"Pull {BASE}"):
            pulled = buildah.pull(BASE, PULL_TIMEOUT_S)
        if not pulled:
            with progress.step(f"Build {BASE} with debootstrap, because it cannot be pulled"):
                _debootstrap(buildah)
        built = buildah.image_id(BASE)
        assert built is not None
        return built


def mirror_of(targets: str, codename: str) -> str | None:
    """Return the mirror of the release `codename` from apt's rows of address, code name and origin, or None."""
    for row in targets.splitlines():
        address, name, origin = row.split()
        if name == codename and origin == "Debian":
            return address
    return None


def _debootstrap(buildah: Buildah) -> None:
    codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
    rows = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(ORIGIN)", "Created-By: Packages"]
    mirror = mirror_of(shell.run(rows), codename)
    if mirror is None:
        raise LocalError(
            f"apt has no mirror of Debian {codename}: add one to /etc/apt/sources.list, then `apt-get update`."
        )
    draft = buildah.paths.cache / "draft-base"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    root, log = draft / "root", buildah.paths.cache / "log" / "debootstrap.log"
    proxy = shell.run(["apt-config", "shell", "proxy", "Acquire::http::Proxy"]).partition("=")[2].strip().strip("'")
    env = inherited(http_proxy=proxy) if proxy else None
    # In its own mount namespace: it mounts /proc and /sys, which must not outlive an interrupted run.
    argv = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={PACKAGES}", codename, root, mirror]
    shell.run(argv, log=log, env=env)
    for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / waste, ignore_errors=True)
        (root / waste).mkdir(parents=True)
    shell.run(["tar", "--create", "--numeric-owner", "--file", draft / "root.tar", "--directory", root, "."])
    dockerfile = draft / "Dockerfile.base"
    dockerfile.write_text(DOCKERFILE)
    buildah.build(BASE, dockerfile, draft)
    shutil.rmtree(draft)
