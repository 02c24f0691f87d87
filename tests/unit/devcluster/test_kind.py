"""Errors of the kind provider without a container engine, and the inputs of its builds."""

import re
from pathlib import Path

import pytest

from devcluster import pinned_tools
from devcluster.environment import LocalPaths, requested_node_image
from devcluster.errors import LocalError
from devcluster.images.builder import ImageBuilder
from devcluster.images.docker import BUILD_BASE, LABELS, Docker, build_argv
from devcluster.images.table import project_images
from devcluster.kind import KindCluster
from devcluster.progress import Progress
from devcluster.provider import choose
from devcluster.tools import Toolchain

ROOT = Path(__file__).parents[3]
NODE_IMAGE = "registry.test/kind-node:v1"


@pytest.fixture
def toolchain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toolchain:
    """A toolchain without a tool, and no engine at Docker's address."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    paths = LocalPaths(tmp_path / "cache", tmp_path / "state" / "cluster", ROOT)
    return Toolchain(paths, Progress(tmp_path / "durations.json"))


@pytest.fixture
def cluster(toolchain: Toolchain) -> KindCluster:
    """A kind cluster that was never created."""
    docker = Docker(toolchain.paths, toolchain.progress)
    return KindCluster(toolchain, docker, ImageBuilder(toolchain), NODE_IMAGE)


def test_kind_without_docker_reports_cause_and_remedy(toolchain: Toolchain) -> None:
    """The error has Docker's own reason and both remedies, before kind is built or run."""
    with pytest.raises(LocalError, match=r"^Docker does not answer \(.+\): start it, or use CLUSTER=native\.$"):
        choose("kind", toolchain)
    assert not toolchain.paths.cache.exists()


def test_node_image_is_read_from_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """KIND_NODE names the node image; unset or empty is the pinned one."""
    monkeypatch.setenv("KIND_NODE", NODE_IMAGE)
    assert requested_node_image() == NODE_IMAGE
    monkeypatch.setenv("KIND_NODE", "")
    assert requested_node_image() is None
    assert "@sha256:" in pinned_tools.KIND_NODE


def test_pytest_options_name_requested_node_image(cluster: KindCluster) -> None:
    """pytest-kind creates the node from the same image as `up`."""
    assert f"--kind-image={NODE_IMAGE}" in cluster.pytest_options()


def test_unavailable_node_image_error_names_alternatives(cluster: KindCluster) -> None:
    """The error names the image, the variable that names another, and the other provider."""
    with pytest.raises(LocalError, match=rf"{NODE_IMAGE} and cannot pull it: .* KIND_NODE, or use CLUSTER=native"):
        cluster.ensure_node_image()


def test_absent_cluster_error_names_create_command(cluster: KindCluster) -> None:
    """Neither the kubeconfig's path nor the node's address is printed for a cluster that does not exist."""
    for request in (cluster.kubeconfig, cluster.node_address):
        with pytest.raises(LocalError, match="No kind cluster is running: run `make cluster`"):
            request()
    assert cluster.status() == "The kind cluster somabrain is not running."


def test_leftover_kubeconfig_gives_unreachable_cluster_error(cluster: KindCluster) -> None:
    """A leftover kubeconfig gives an error with the remedy, not the raw error alone."""
    left = cluster.toolchain.paths.state.with_name("kind.kubeconfig")
    left.parent.mkdir(parents=True)
    left.write_text("{}")
    assert cluster.kubeconfig() == left
    with pytest.raises(LocalError, match="The kind cluster somabrain does not answer: run `make cluster`"):
        cluster.node_address()


def test_docker_build_args_include_index_proxy_and_certificates() -> None:
    """A build by Docker has the arguments of a build by Buildah: indexes, proxies, and the host's certificates."""
    index = {"PIP_INDEX_URL": "https://index.test/simple", "HTTPS_PROXY": "http://proxy.test:3128"}
    for image in project_images(ROOT):
        argv = build_argv(image, ROOT, index, bundle=True)
        given = {argv[at + 1] for at, word in enumerate(argv) if word == "--build-arg"}
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        assert given >= {"=".join(pair) for pair in index.items()}
        assert given >= {f"UV_DEFAULT_INDEX={index['PIP_INDEX_URL']}", f"SSL_CERT_FILE={bundle}", f"PIP_CERT={bundle}"}
        assert given >= {f"BUILD_BASE={BUILD_BASE}", f"VERSION={image.version}"}
        assert not any("BUILD_BASE" in str(word) for word in build_argv(image, ROOT, {}, bundle=False))


def test_shipped_images_exclude_host_certificates() -> None:
    """Each Dockerfile builds on the base with certificates and ships the plain one; its stages carry our label."""
    for image in project_images(ROOT):
        dockerfile = (ROOT / image.dockerfile).read_text()
        bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
        assert bases[0] == "${BUILD_BASE}"
        assert bases[-1] == "${BASE}"
        stages = re.split(r"^FROM ", dockerfile, flags=re.MULTILINE)
        assert f"LABEL {LABELS[0]}=" in stages[1]
        title = image.name.rpartition("/")[2].partition(":")[0]
        assert f"org.opencontainers.image.title={title}" in LABELS
        assert f'org.opencontainers.image.title="{title}"' in stages[-1]
