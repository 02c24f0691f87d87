"""Size of both images by component, and the time from creation to Ready of their pods.

    make bench-images

Sizes are read from the archives of the images; the reference is their base. Startup times are measured on the local
cluster, in turns: the pod of the chart `sb` after its migration, the operator's pod, and an idle pod, which shows the
time that Kubernetes itself takes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.image_weight import Layer, dependents, layers, rows, shared, weights
from bench.pod_startup import Pods
from devcluster.environment import local_paths
from devcluster.images.table import CLUSTER_IMAGES, project_images
from examples.kubectl import ROOT, Kubectl, Object, run
from tests.e2e.support.brains import DATABASE, MIGRATION
from tests.e2e.support.database import INFRA
from tests.e2e.support.images import provider

MB = 1_000_000
NAMESPACE = "bench-images"
IDLE = "nothing"
SB, OPERATOR = "bench", "bench-operator"


def megabytes(size: int) -> str:
    return f"{size / MB:.1f}"


def table(head: Sequence[str], body: Iterator[Sequence[str]]) -> None:
    """Print a Markdown table in which all columns but the first two are numbers."""
    print(f"| {' | '.join(head)} |")
    print(f"| {' | '.join(['---'] * 2 + ['---:'] * (len(head) - 2))} |")
    for cells in body:
        print(f"| {' | '.join(cells)} |")
    print()


def print_sizes(images: Mapping[str, tuple[Layer, ...]]) -> None:
    """Print the size of each part of each image, packed and unpacked, and as a multiple of the base."""
    service, operator = images.values()
    base = shared(service, operator)
    reference = sum(layer.unpacked for layer in service[:base])

    def body() -> Iterator[Sequence[str]]:
        for name, image_layers in images.items():
            dependencies, project = image_layers[base], image_layers[base + 1 :]
            parts = {
                "base": image_layers[:base],
                "dependencies": (dependencies,),
                "somabrain": project,
                "whole": image_layers,
            }
            for part, of in parts.items():
                packed, unpacked = sum(layer.packed for layer in of), sum(layer.unpacked for layer in of)
                yield name, part, megabytes(packed), megabytes(unpacked), f"{unpacked / reference:.2f}"

    table(("image", "of it", "packed MB", "unpacked MB", "times the base"), body())


def print_dependencies(images: Mapping[str, tuple[Layer, ...]]) -> None:
    """Print the size of each distribution, unpacked and with compiled files."""
    base = shared(*images.values())
    weighed: dict[str, Counter[str]] = {name: weights(image_layers[base:]) for name, image_layers in images.items()}
    for name, sizes in weighed.items():
        required_by = dependents((ROOT / "requirements" / f"{name}.txt").read_text())
        listed = rows(sizes, required_by, MB)
        table(
            (f"in the {name}'s image", "asked for by", "MB"), ((what, by, megabytes(size)) for what, by, size in listed)
        )


def idle_deployment() -> Object:
    """Return a Deployment of the pause image, with the same security context as the project's pods."""
    labels = {"app": IDLE}
    security = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    container = {"name": IDLE, "image": CLUSTER_IMAGES[0].name, "securityContext": security}
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": IDLE},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


@contextmanager
def deployed(kubectl: Kubectl) -> Iterator[dict[str, Pods]]:
    """Yield the three Deployments, each with its pod Ready, in a namespace that is deleted afterwards."""
    subprocess.run([ROOT / "scripts" / "install_charts.sh", kubectl.kubeconfig], check=True, stdout=subprocess.DEVNULL)
    kubectl("rollout", "status", "-n", INFRA, "statefulset/postgresql", "--timeout=180s", timeout_s=190)
    kubectl.ensure_namespace(NAMESPACE)
    helm = ("-n", NAMESPACE, "--kubeconfig", str(kubectl.kubeconfig))
    ready = ("--wait", "--wait-for-jobs", "--timeout", "4m")
    alone = ("--set", f"watchNamespaces={{{NAMESPACE}}}", "--set", "crd.install=false")
    try:
        for secret in (DATABASE, MIGRATION):
            kubectl.copy_secret(secret, INFRA, NAMESPACE)
        kubectl.apply(NAMESPACE, idle_deployment())
        run("helm", "upgrade", "--install", SB, "helm/charts/sb", *helm, *ready, timeout_s=260)
        run(
            "helm",
            "upgrade",
            "--install",
            OPERATOR,
            "helm/charts/somabrain-operator",
            *helm,
            *ready,
            *alone,
            timeout_s=260,
        )
        kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{IDLE}", "--timeout=60s")
        yield {
            IDLE: Pods(kubectl, NAMESPACE, f"app={IDLE}"),
            "service": Pods(kubectl, NAMESPACE, f"app.kubernetes.io/instance={SB},app.kubernetes.io/component=server"),
            "operator": Pods(kubectl, NAMESPACE, f"app.kubernetes.io/instance={OPERATOR}"),
        }
    finally:
        run("helm", "uninstall", OPERATOR, *helm, "--ignore-not-found", timeout_s=120)
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def print_starts(seconds: Mapping[str, Sequence[float]]) -> None:
    """Print the startup times, also as multiples of the idle pod's."""
    reference = statistics.median(seconds[IDLE])

    def body() -> Iterator[Sequence[str]]:
        for what, durations_s in seconds.items():
            figures = (min(durations_s), statistics.median(durations_s), max(durations_s))
            yield what, str(len(durations_s)), *(f"{each:.1f} s" for each in figures), f"{figures[1] / reference:.1f}"

    table(("pod of", "starts", "min", "median", "max", "times nothing"), body())


def main() -> int:
    """Run the benchmark and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=7, help="starts per pod (default: 7)")
    options = parser.parse_args()
    cluster = provider()
    with tempfile.TemporaryDirectory() as folder:
        service, operator = project_images(local_paths().checkout)
        images = {
            "service": layers(cluster.archive(service, Path(folder))),
            "operator": layers(cluster.archive(operator, Path(folder))),
        }
    print_sizes(images)
    print_dependencies(images)
    with deployed(Kubectl.of_local_cluster()) as pods:
        seconds: dict[str, list[float]] = {what: [] for what in pods}
        for _ in range(options.starts):
            for what, each in pods.items():
                seconds[what].append(each.start())
                each.settle()
    load = os.getloadavg()[0]
    print(f"pod created → Ready, on {os.cpu_count()} processors (load average at the end: {load:.1f}):\n")
    print_starts(seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
