"""An invalid spec is refused with a message that names field and remedy, and other resources are unaffected."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from examples.kubectl import CommandFailed
from tests.e2e.support.brains import DATABASE, MIGRATION, Brain

REFERENCES = {
    "database": {"secretRef": {"name": DATABASE}},
    "migration": {"database": {"secretRef": {"name": MIGRATION}}},
}


@pytest.mark.parametrize(
    ("spec", "field", "remedy"),
    [
        ({"image": "ghcr.io/somabrain/somabrain-service:0.1.0", "version": "0.1.0"}, "spec.image", "remove"),
        ({"replicas": -1}, "spec.replicas", "greater than or equal to 0"),
    ],
    ids=["image and version", "negative replicas"],
)
def test_contradictory_spec_is_refused_at_admission(
    brain: Brain, spec: dict[str, object], field: str, remedy: str
) -> None:
    """An image together with a version, and a negative count of replicas, are refused at admission."""
    with pytest.raises(CommandFailed) as refused:
        brain.apply(**spec)
    assert field in str(refused.value)
    assert remedy in str(refused.value)
    assert brain.kubectl.find(brain.namespace, "somabrain", brain.name) is None


async def test_invalid_resource_is_reported_and_does_not_block_others(brain: Brain, served: Brain) -> None:
    """A bad image and a missing Secret are reported with their field, while another resource serves."""
    no_image, no_secret = replace(brain, name="no-image"), replace(brain, name="no-secret")
    async with served.client() as client, asyncio.TaskGroup() as tasks:
        await client.create_namespace("neighbour")
        await asyncio.to_thread(no_image.apply, image="ghcr.io/somabrain/somabrain-service:no-such-tag", **REFERENCES)
        await asyncio.to_thread(no_secret.apply, **{**REFERENCES, "database": {"secretRef": {"name": "not-there"}}})
        image = tasks.create_task(no_image.until("Ready", "False", "spec.image"))
        secret = tasks.create_task(no_secret.until("ReferencesResolved", "False", "not-there"))
        while not (image.done() and secret.done()):
            await client.remember("neighbour", "I am served.")
            await asyncio.sleep(0.2)
    assert "no-such-tag" in image.result().message
    assert "spec.database.secretRef" in secret.result().message
    assert (await no_secret.until("Ready", "False")).message.count("not-there")
    assert (await served.until("Ready", "True")).current


async def test_late_secret_makes_resource_ready(brain: Brain) -> None:
    """A resource becomes Ready by itself once its Secret is created."""
    await asyncio.to_thread(brain.kubectl, "delete", "secret", DATABASE, "-n", brain.namespace)
    await asyncio.to_thread(brain.apply)
    await brain.until("ReferencesResolved", "False", DATABASE)
    await asyncio.to_thread(brain.kubectl.copy_secret, DATABASE, "soma-infra", brain.namespace)
    await brain.ready()
