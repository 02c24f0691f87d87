"""The table of images: the project's two, and those they run beside."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from somabrain_local import specs

BASE = "docker.io/library/python:3.11-slim"


@dataclass(frozen=True, slots=True)
class BinaryImage:
    """One pinned tool's binary and nothing else."""

    name: str
    tool: str


@dataclass(frozen=True, slots=True)
class DockerfileImage:
    """What a Dockerfile makes of the checkout, or of the unpacked tool `context`."""

    name: str
    dockerfile: str
    context: str | None = None
    version: str = ""


Image = BinaryImage | DockerfileImage

CLUSTER_IMAGES: tuple[Image, ...] = (
    BinaryImage("registry.k8s.io/pause:3.10", "pause"),
    BinaryImage(f"registry.k8s.io/coredns/coredns:{specs.COREDNS}", "coredns"),
)
DATABASE = DockerfileImage(
    "docker.io/pgvector/pgvector:pg18", "scripts/somabrain_local/images/Dockerfile.database", specs.PGSERVER.name
)
POLICY = BinaryImage(f"docker.io/openpolicyagent/opa:{specs.OPA.removeprefix('v')}-static", "opa")


def project_images(checkout: Path) -> tuple[DockerfileImage, ...]:
    """Return the service's and the operator's image, tagged with the project's version."""
    version = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["version"]
    return tuple(
        DockerfileImage(f"ghcr.io/somabrain/somabrain-{role}:{version}", f"Dockerfile.{role}", version=version)
        for role in ("service", "operator")
    )


def workload_images(checkout: Path) -> tuple[Image, ...]:
    """Return all images that pods of the project use, those that take longest first."""
    return (*project_images(checkout), DATABASE, POLICY)
