"""CustomResourceDefinitions of others, generated from their Go types: a cluster of the tests has no other source."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from somabrain_local import pinned_tools, shell
from somabrain_local.environment import inherited, local_paths
from somabrain_local.progress import Progress
from somabrain_local.tools import Toolchain

PROMETHEUS_OPERATOR: Final = "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"


def prometheus_operator(output: Path) -> list[Path]:
    """Write the definitions of the Prometheus operator into a folder and return the files."""
    paths = local_paths()
    toolchain = Toolchain(paths, Progress(paths.cache / "durations.json"))
    toolchain.ensure(["controller-gen"])
    caches, go = paths.cache / "go", toolchain.folder(pinned_tools.GO) / "go" / "bin"
    env = inherited(
        GOCACHE=str(caches / "build"), GOFLAGS="-modcacherw", GOMODCACHE=str(caches / "mod"), GOROOT="",
        GOTOOLCHAIN="local", PATH=f"{go}:/usr/bin:/bin",
    )  # fmt: skip
    # Descriptions are left out: with them a definition is too large to be applied by kubectl.
    argv = [
        paths.bin / "controller-gen",
        "crd:maxDescLen=0",
        f"paths={PROMETHEUS_OPERATOR}",
        f"output:crd:dir={output}",
    ]
    shell.run(argv, env=env, cwd=paths.checkout / "scripts" / "go" / "crds")
    return sorted(output.glob("*.yaml"))
