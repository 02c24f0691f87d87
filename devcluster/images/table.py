"""Table of images: the project's own two, and those of the servers they use."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from devcluster import pinned_tools

BASE = "docker.io/library/python:3.11-slim"


@dataclass(frozen=True, slots=True)
class BinaryImage:
    """Image of one pinned tool's binary and nothing else."""

    name: str
    tool: str


@dataclass(frozen=True, slots=True)
class DockerfileImage:
    """Image built by a Dockerfile from the checkout, or from the folder of the tool `context`."""

    name: str
    dockerfile: str
    context: str | None = None
    version: str = ""
    java: bool = False
    """True if its Dockerfile also copies from the tool `java`, a build context of that name."""


Image = BinaryImage | DockerfileImage

CLUSTER_IMAGES: tuple[Image, ...] = (
    BinaryImage("registry.k8s.io/pause:3.10", "pause"),
    BinaryImage(f"registry.k8s.io/coredns/coredns:{pinned_tools.COREDNS}", "coredns"),
)
DATABASE = DockerfileImage(
    "docker.io/pgvector/pgvector:pg18", "devcluster/images/Dockerfile.database", pinned_tools.PGSERVER.name
)
IMAGES_FOLDER = "devcluster/images"
# Servers of soma-infra's profile `full` besides PostgreSQL, under the image names in its values.
PLATFORM: tuple[Image, ...] = (
    DockerfileImage("docker.io/library/redis:7.0.15", f"{IMAGES_FOLDER}/Dockerfile.redis", "redis"),
    BinaryImage(f"quay.io/coreos/etcd:{pinned_tools.ETCD}", "etcd"),
    DockerfileImage(
        f"docker.io/apache/kafka:{pinned_tools.KAFKA}", f"{IMAGES_FOLDER}/Dockerfile.kafka", "kafka", java=True
    ),
    DockerfileImage(
        f"quay.io/keycloak/keycloak:{pinned_tools.KEYCLOAK}",
        f"{IMAGES_FOLDER}/Dockerfile.keycloak",
        "keycloak",
        java=True,
    ),
    DockerfileImage(
        f"docker.io/hashicorp/vault:{pinned_tools.VAULT[1:]}", f"{IMAGES_FOLDER}/Dockerfile.vault", "vault"
    ),
    BinaryImage(f"docker.io/otel/opentelemetry-collector:{pinned_tools.COLLECTOR[1:]}", "otelcol"),
)
POLICY = BinaryImage(f"docker.io/openpolicyagent/opa:{pinned_tools.OPA.removeprefix('v')}-static", "opa")


def project_images(checkout: Path) -> tuple[DockerfileImage, ...]:
    """Return the service's and the operator's image, tagged with the project's version."""
    version = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["version"]
    return tuple(
        DockerfileImage(f"ghcr.io/somabrain/somabrain-{role}:{version}", f"Dockerfile.{role}", version=version)
        for role in ("service", "operator")
    )


def workload_images(checkout: Path, *, full: bool = False) -> tuple[Image, ...]:
    """Return the images that pods of the project use, the slowest builds first.

    Args:
        checkout: root of the repository.
        full: include those of soma-infra's profile `full`.
    """
    return (*project_images(checkout), DATABASE, POLICY, *(PLATFORM if full else ()))
