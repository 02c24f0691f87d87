"""A downgrade is refused, while the newer version continues to serve, until the annotation allows it."""

from __future__ import annotations

import time

from somabrain_operator.kube.names import ALLOW_DOWNGRADE
from tests.integration.operator.brains import Brain, ControllerStub

REPOSITORY = "ghcr.io/somabrain/somabrain-service"


def test_downgrade_is_refused_until_annotation_allows_it(brain: Brain, controller_stub: ControllerStub) -> None:
    """A refused downgrade changes only the status; once allowed, it is migrated and rolled out as any version."""
    brain.apply(version="0.2.0")
    controller_stub.serve()
    brain.apply(version="0.1.0")
    condition = brain.until("ConfigValid", "False", "0.1.0 is older than 0.2.0, which serves")
    assert condition["reason"] == "Downgrade"
    assert brain.until("Ready", "False")["reason"] == "Downgrade"
    assert brain.until("Available", "True")
    before = brain.api.writes()
    time.sleep(2)
    assert brain.api.writes() == before
    assert brain.containers() == [f"server {REPOSITORY}:0.2.0"]
    assert len(brain.jobs()) == 1
    brain.annotate(ALLOW_DOWNGRADE, "0.1.0")
    controller_stub.finish_migration(image=f"{REPOSITORY}:0.1.0")
    brain.until("Migrated", "True")
    controller_stub.roll_out()
    assert brain.containers() == [f"server {REPOSITORY}:0.1.0"]
    brain.until("ConfigValid", "True")
