"""Sentences of the kind provider where no engine answers, and the inputs of its builds."""

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


def test_kind_without_an_engine_is_answered_in_one_sentence(toolchain: Toolchain) -> None:
    """The error has Docker's own reason and both remedies, before kind is built or asked."""
    with pytest.raises(LocalError, match=r"^Docker does not answer \(.+\): start it, or use CLUSTER=native\.$"):
        choose("kind", toolchain)
    assert not toolchain.paths.cache.exists()


def test_the_node_image_is_named_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """KIND_NODE names the node image; unset or empty is the pinned one."""
    monkeypatch.setenv("KIND_NODE", NODE_IMAGE)
    assert requested_node_image() == NODE_IMAGE
    monkeypatch.setenv("KIND_NODE", "")
    assert requested_node_image() is None
    assert "@sha256:" in pinned_tools.KIND_NODE


def test_pytest_gets_the_same_node_image(cluster: KindCluster) -> None:
    """The fixture of pytest-kind is told the image that `up` creates the node from."""
    assert f"--kind-image={NODE_IMAGE}" in cluster.pytest_options()


def test_a_node_image_that_cannot_be_had_is_named_with_the_way_round(cluster: KindCluster) -> None:
    """The error names the image, the variable that names another, and the other provider."""
    with pytest.raises(LocalError, match=rf"{NODE_IMAGE} and cannot pull it: .* KIND_NODE, or use CLUSTER=native"):
        cluster.ensure_node_image()


def test_an_absent_cluster_is_answered_with_the_command_that_creates_one(cluster: KindCluster) -> None:
    """Neither the kubeconfig's path nor the node's address is printed for a cluster that is not there."""
    for asked in (cluster.kubeconfig, cluster.node_address):
        with pytest.raises(LocalError, match="No kind cluster is running: run `make cluster`"):
            asked()
    assert cluster.status() == "The kind cluster somabrain is not running."


def test_a_cluster_that_does_not_answer_is_not_taken_for_one(cluster: KindCluster) -> None:
    """A kubeconfig that is left over gives a sentence, not the raw error alone."""
    left = cluster.toolchain.paths.state.with_name("kind.kubeconfig")
    left.parent.mkdir(parents=True)
    left.write_text("{}")
    assert cluster.kubeconfig() == left
    with pytest.raises(LocalError, match="The kind cluster somabrain does not answer: run `make cluster`"):
        cluster.node_address()


def test_a_build_gets_index_proxy_and_certificates() -> None:
    """A build by Docker is given what a build by Buildah is: indexes, proxies, and the host's certificates."""
    index = {"PIP_INDEX_URL": "https://index.test/simple", "HTTPS_PROXY": "http://proxy.test:3128"}
    for image in project_images(ROOT):
        argv = build_argv(image, ROOT, index, bundle=True)
        given = {argv[at + 1] for at, word in enumerate(argv) if word == "--build-arg"}
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        assert given >= {"=".join(pair) for pair in index.items()}
        assert given >= {f"UV_DEFAULT_INDEX={index['PIP_INDEX_URL']}", f"SSL_CERT_FILE={bundle}", f"PIP_CERT={bundle}"}
        assert given >= {f"BUILD_BASE={BUILD_BASE}", f"VERSION={image.version}"}
        assert not any("BUILD_BASE" in str(word) for word in build_argv(image, ROOT, {}, bundle=False))


def test_certificates_of_the_host_are_in_no_shipped_image() -> None:
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
