"""Upgrade from the previous version with its charts and images, with data: `make e2e-full`.

The previous version is the commit in tests/PREVIOUS; both of its images are built from its own tree.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from common.config.former_names import FORMER_NAMES
from devcluster import previous_release as installed
from devcluster.environment import local_paths
from devcluster.images.table import project_images
from devcluster.previous_release import PreviousRelease
from devcluster.progress import Progress
from examples.kubectl import ROOT, Kubectl, Object, run
from somabrain_client import MemoryClient
from somabrain_client.models import Memory
from somabrain_service.store import schema
from tests.e2e.support.brains import Brain
from tests.e2e.support.images import provider, service_image
from tests.e2e.support.waiting import eventually

pytestmark = pytest.mark.timeout(900)

TAG = "0.1.0-previous"
QUESTION = "What hangs behind the red door?"
"""Only one memory is about it, so that every ranking has it first."""


@pytest.fixture
def previous() -> PreviousRelease:
    """The previous version's tree, with its images loaded under a tag below the present one."""
    paths = local_paths()
    release = installed.ensure(paths, Progress(paths.cache / "durations.json"))
    cluster = provider(release.checkout)
    with tempfile.TemporaryDirectory() as folder:
        for image in project_images(release.checkout):
            name = f"{image.name.rpartition(':')[0]}:{TAG}"
            cluster.load_archive(cluster.archive(replace(image, name=name, version=TAG), Path(folder)))
    return release


@pytest.fixture
def brain(kubectl: Kubectl) -> Iterator[Brain]:
    """A SomaBrain that is not applied yet, in a namespace on a cluster without any other."""
    crds = kubectl("get", "crd", "-o", "name")
    assert "somabrains.somabrain.io" not in crds, "another release owns the definition; this needs a new cluster"
    name = f"upgrade-{uuid4().hex[:5]}"
    kubectl.ensure_namespace(name)
    address = run(sys.executable, "-m", "devcluster", "node-address").strip()
    yield Brain(kubectl, address, name)
    kubectl("delete", "somabrains", "--all", "-n", name, "--ignore-not-found")
    kubectl("delete", "namespace", name)
    kubectl("delete", "crd", "somabrains.somabrain.io", "--ignore-not-found")


def charts(brain: Brain, root: Path, *settings: str) -> None:
    """Install or upgrade both charts of a tree, reusing earlier values."""
    where = ("-n", brain.namespace, "--kubeconfig", str(brain.kubectl.kubeconfig))
    options = ("--install", "--reset-then-reuse-values", "--wait", "--timeout", "4m")
    own = [word for each in settings for word in ("--set", each)]
    for release, chart, values in (("platform", "soma-infra", []), ("operator", "somabrain-operator", own)):
        run("helm", "upgrade", release, str(root / "helm" / "charts" / chart), *options, *values, *where, timeout_s=260)


def schema_of(brain: Brain) -> int:
    words = (
        "psql",
        "--host=/var/run/postgresql",
        "--username=postgres",
        "--dbname=somabrain",
        "--tuples-only",
        "--command=SELECT current FROM schema_info",
    )
    return int(brain.kubectl("exec", "-n", brain.namespace, "postgresql-0", "--", *words))


async def fill(client: MemoryClient) -> None:
    """Store memories, change some and forget some."""
    await client.create_namespace("notes")
    await client.remember("notes", "An umbrella hangs behind the red door.")
    memories = [await client.remember("notes", f"The key is under stone {number}.") for number in range(30)]
    for memory in memories[:5]:
        await client.update(memory.name, text=memory.text.replace("stone", "flower pot"), etag=memory.etag)
    for memory in memories[-5:]:
        await client.forget(memory.name)


async def memories_and_first_hit(client: MemoryClient) -> tuple[list[Memory], str]:
    """Return all memories and the first hit of a recall."""
    every = [memory async for memory in client.list("notes", page_size=1000)]
    return every, (await client.recall("notes", QUESTION)).hits[0].memory.name


async def test_chart_upgrade_from_previous_version_preserves_memories(brain: Brain, previous: PreviousRelease) -> None:
    """With the values it was installed with: the schema is upgraded, every memory is unchanged, and writes continue."""
    versions = (f"image.tag={TAG}", f"defaults.serviceVersion={TAG}")
    watched = f"watchNamespaces={{{brain.namespace}}}"
    await asyncio.to_thread(charts, brain, previous.checkout, *versions, watched)
    await asyncio.to_thread(brain.apply)
    await brain.ready()
    (old,) = await asyncio.to_thread(brain.pods)
    assert [each["image"] for each in old["spec"]["containers"]] == [f"ghcr.io/somabrain/somabrain-service:{TAG}"]
    async with brain.client() as client:
        await fill(client)
        before = await memories_and_first_hit(client)
    assert len(before[0]) == 26
    assert await asyncio.to_thread(schema_of, brain) == previous.schema

    settings = await asyncio.to_thread(settings_of, brain)
    await asyncio.to_thread(charts, brain, ROOT, "image.tag=")
    await serves_undisturbed(brain, old)
    assert await asyncio.to_thread(settings_of, brain) == settings

    await asyncio.to_thread(charts, brain, ROOT, "defaults.serviceVersion=")
    version = service_image().rpartition(":")[2]
    await until_version(brain, version)
    assert await asyncio.to_thread(schema_of, brain) == schema.HEAD
    async with brain.client() as client:
        assert await memories_and_first_hit(client) == before
        await client.remember("notes", "Kept by the present version.")
        assert len((await memories_and_first_hit(client))[0]) == 27
    await eventually(
        lambda: settings_of(brain), lambda it: not set(FORMER_NAMES) & set(it), "Former names are still rendered", 60
    )


async def test_rollback_to_previous_version_preserves_memories(brain: Brain, previous: PreviousRelease) -> None:
    """The service is rolled back first, by the annotation that allows it, and then the operator."""
    watched = f"watchNamespaces={{{brain.namespace}}}"
    await asyncio.to_thread(charts, brain, ROOT, watched)
    await asyncio.to_thread(brain.apply)
    await brain.ready()
    async with brain.client() as client:
        await fill(client)
        before = await memories_and_first_hit(client)

    allow = ("annotate", "sb", brain.name, "-n", brain.namespace, f"somabrain.io/allow-downgrade={TAG}")
    await asyncio.to_thread(brain.kubectl, *allow)
    await asyncio.to_thread(brain.apply, version=TAG)
    await until_version(brain, TAG)
    async with brain.client() as client:
        assert await memories_and_first_hit(client) == before

    (old,) = await asyncio.to_thread(brain.pods)
    await asyncio.to_thread(charts, brain, previous.checkout, f"image.tag={TAG}")
    await serves_undisturbed(brain, old)
    async with brain.client() as client:
        assert await memories_and_first_hit(client) == before


async def serves_undisturbed(brain: Brain, pod: Object) -> None:
    """Wait until the current operator has reverted an edit; the pod must be the same and never have restarted."""
    await brain.edited_by_hand()
    await brain.ready()
    (live,) = await asyncio.to_thread(brain.pods)
    assert live["metadata"]["uid"] == pod["metadata"]["uid"]
    assert {each["restartCount"] for each in live["status"]["containerStatuses"]} == {0}


async def until_version(brain: Brain, version: str) -> None:
    """Wait until all pods run a version and the SomaBrain is Ready."""
    await eventually(
        lambda: brain.resource()["status"].get("version"), lambda it: it == version, "The service did not follow", 180
    )
    await brain.ready()


def settings_of(brain: Brain) -> dict[str, str]:
    """Return the settings that its pods are given."""
    data: dict[str, str] = brain.kubectl.get(brain.namespace, "configmap", f"{brain.name}-config")["data"]
    return data
