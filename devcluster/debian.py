"""Installation of missing Debian packages."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterable
from pathlib import Path

from devcluster import shell
from devcluster.environment import LocalPaths, inherited
from devcluster.errors import CommandFailed, LocalError
from devcluster.progress import Progress

CLUSTER = ("conntrack", "containerd", "containernetworking-plugins", "iproute2", "iptables", "kmod", "openssl", "runc")
IMAGES = ("buildah", "ca-certificates", "debootstrap")
TOOLS = ("ca-certificates", "openssl")
"""Packages needed for downloads over TLS and for certificates of servers on loopback."""
VENV = ("python3-venv",)


def ensure(packages: Iterable[str], paths: LocalPaths, progress: Progress) -> None:
    """Install those of `packages` that are missing.

    Raises:
        LocalError: the system is not Debian, or apt-get could not install them.
    """
    with shell.locked(paths.cache / "locks" / "apt"):
        to_install = missing(packages)
        if not to_install:
            return
        with progress.step(f"Install Debian packages: {', '.join(to_install)}"):
            _install(to_install, paths.cache / "log")


def missing(packages: Iterable[str]) -> list[str]:
    """Return those of `packages` that dpkg does not report as installed.

    Raises:
        LocalError: the system is not Debian.
    """
    requested = sorted(packages)
    if not shutil.which("dpkg-query"):
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "this system")
        raise LocalError(f"{system} is not Debian: install the equivalents of {', '.join(requested)} yourself.")
    listed = shell.run(["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n"])
    present = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    return [package for package in requested if package not in present]


def unpack(packages: Iterable[str], folder: Path, logs: Path) -> None:
    """Download `packages` and unpack their files into `folder`, without installing them or running their scripts."""
    with shell.locked(logs.parent / "locks" / "apt"):
        _run_apt(["apt-get", "download", *packages], logs, cwd=folder)
    for package in folder.glob("*.deb"):
        shell.run(["dpkg-deb", "--extract", package, folder])
        package.unlink()


def _install(packages: list[str], logs: Path) -> None:
    env = inherited(DEBIAN_FRONTEND="noninteractive")
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    shell.run(["dpkg", "--configure", "--pending"], log=logs / "dpkg.log", env=env)  # repairs an interrupted run
    _run_apt(install, logs)


def _run_apt(argv: list[str], logs: Path, cwd: Path | None = None) -> None:
    env, log = inherited(DEBIAN_FRONTEND="noninteractive"), logs / f"apt-{argv[1]}.log"
    try:
        shell.run(argv, log=log, env=env, cwd=cwd)
    except CommandFailed:  # usually the package lists are missing or outdated
        shell.run(["apt-get", "update"], log=logs / "apt-update.log", env=env)
        shell.run(argv, log=log, env=env, cwd=cwd)
