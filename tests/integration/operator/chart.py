"""The operator's chart on an API server without controllers, and a kubeconfig of its service account."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from devcluster.environment import local_paths
from somabrain_operator.kube.objects import condition, text
from tests.integration.operator.api import Api, Object
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]
SYSTEM = "somabrain-system"
INSTALLED = ("CustomResourceDefinition", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


def tool(name: str) -> str:
    """Return a program of the local tools."""
    program = local_paths().bin / name
    assert program.exists(), f"{name} is missing: run `make integration`, which puts it there"
    return str(program)


def rendered(*settings: str) -> list[Object]:
    """Return the manifests of the operator's chart that this API server can act upon."""
    flags = [word for setting in settings for word in ("--set", setting)]
    chart = ROOT / "helm" / "charts" / "somabrain-operator"
    argv = [tool("helm"), "template", "somabrain-operator", str(chart), "--namespace", SYSTEM, *flags]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return [each for each in yaml.safe_load_all(text) if each and each["kind"] in INSTALLED]


def install(verbs: Api) -> None:
    """Install the chart, and wait until the API server serves the kind."""
    verbs.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    for manifest in rendered():
        verbs.create(manifest, namespace_of(manifest))
    wait_for_kind(verbs)


def namespace_of(manifest: Object) -> str | None:
    """Return the namespace that a manifest of the chart is created in; None for kinds that have none."""
    return SYSTEM if manifest["kind"] == "ServiceAccount" else manifest["metadata"].get("namespace")


def wait_for_kind(verbs: Api) -> None:
    """Wait until the API server serves SomaBrains."""
    eventually(
        lambda: established(verbs.get("CustomResourceDefinition", "somabrains.somabrain.io")),
        lambda status: status == "True",
        "the CRD is Established",
    )


def established(definition: Object) -> str:
    """Return the status of a CustomResourceDefinition's condition Established."""
    return text(condition(definition, "Established"), "status")


def token_of(api: Api, *flags: str) -> str:
    """Return a token of the chart's service account."""
    argv = [
        tool("kubectl"),
        "--kubeconfig",
        str(api.server.kubeconfig),
        "create",
        "token",
        "somabrain-operator",
        "-n",
        SYSTEM,
        *flags,
    ]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def account_of(api: Api, folder: Path, *flags: str) -> Path:
    """Write a kubeconfig of the chart's service account, with a separate token."""
    token = token_of(api, *flags)
    cluster = {"server": api.server.url, "certificate-authority": str(api.server.ca_file)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path
