"""Third-party CustomResourceDefinitions from Go modules: test clusters have no other source."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devcluster import pinned_tools, shell
from devcluster.environment import LocalPaths, inherited, local_paths
from devcluster.progress import Progress
from devcluster.tools import Toolchain

PROMETHEUS_OPERATOR: Final = "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"


@dataclass(frozen=True, slots=True)
class DefinitionFile:
    """CustomResourceDefinition in a file of a public Go module."""

    module: str
    version: str
    path: str


GRPC_ROUTE: Final = DefinitionFile(
    "sigs.k8s.io/gateway-api", "v1.6.1", "config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml"
)
CERTIFICATE: Final = DefinitionFile(
    "github.com/cert-manager/cert-manager", "v1.21.2", "deploy/crds/cert-manager.io_certificates.yaml"
)
EXTERNAL_SECRET: Final = DefinitionFile(
    "github.com/external-secrets/external-secrets",
    "v1.3.2",
    "config/crds/bases/external-secrets.io_externalsecrets.yaml",
)


def from_module(file: DefinitionFile) -> str:
    """Return a definition as YAML; its module is downloaded once, verified by Go's checksum database, and cached."""
    paths = local_paths()
    toolchain = Toolchain(paths, Progress(paths.cache / "durations.json"))
    go = toolchain.folder(pinned_tools.GO) / "go" / "bin" / "go"
    argv = [go, "mod", "download", "-json", f"{file.module}@{file.version}"]
    downloaded = json.loads(shell.run(argv, env=_environment(paths, go.parent), cwd=paths.cache))
    return (Path(downloaded["Dir"]) / file.path).read_text(encoding="utf-8")


def prometheus_operator(output: Path) -> list[Path]:
    """Write the CRDs of the Prometheus operator, generated from its Go types, into a folder and return the files."""
    paths = local_paths()
    toolchain = Toolchain(paths, Progress(paths.cache / "durations.json"))
    toolchain.ensure(["controller-gen"])
    env = _environment(paths, toolchain.folder(pinned_tools.GO) / "go" / "bin")
    # Without descriptions: with them a CRD is too large for kubectl apply.
    argv = [
        paths.bin / "controller-gen",
        "crd:maxDescLen=0",
        f"paths={PROMETHEUS_OPERATOR}",
        f"output:crd:dir={output}",
    ]
    shell.run(argv, env=env, cwd=paths.checkout / "devcluster" / "go" / "crds")
    return sorted(output.glob("*.yaml"))


def _environment(paths: LocalPaths, go: Path) -> dict[str, str]:
    caches = paths.cache / "go"
    return inherited(
        GOCACHE=str(caches / "build"),
        GOFLAGS="-modcacherw",
        GOMODCACHE=str(caches / "mod"),
        GOPATH=str(caches),
        GOROOT="",
        GOTOOLCHAIN="local",
        PATH=f"{go}:/usr/bin:/bin",
    )
