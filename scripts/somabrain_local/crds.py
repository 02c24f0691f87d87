"""Third-party CustomResourceDefinitions, generated from their Go types: test clusters have no other source."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from somabrain_local import pinned_tools, shell
from somabrain_local.environment import inherited, local_paths
from somabrain_local.progress import Progress
from somabrain_local.tools import Toolchain

PROMETHEUS_OPERATOR: Final = "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"


def prometheus_operator(output: Path) -> list[Path]:
    """Write the CRDs of the Prometheus operator into a folder and return the files."""
    paths = local_paths()
    toolchain = Toolchain(paths, Progress(paths.cache / "durations.json"))
    toolchain.ensure(["controller-gen"])
    caches, go = paths.cache / "go", toolchain.folder(pinned_tools.GO) / "go" / "bin"
    env = inherited(
        GOCACHE=str(caches / "build"), GOFLAGS="-modcacherw", GOMODCACHE=str(caches / "mod"), GOROOT="",
        GOTOOLCHAIN="local", PATH=f"{go}:/usr/bin:/bin",
    )  # fmt: skip
    # Without descriptions: with them a CRD is too large for kubectl apply.
    argv = [
        paths.bin / "controller-gen",
        "crd:maxDescLen=0",
        f"paths={PROMETHEUS_OPERATOR}",
        f"output:crd:dir={output}",
    ]
    shell.run(argv, env=env, cwd=paths.checkout / "scripts" / "go" / "crds")
    return sorted(output.glob("*.yaml"))
