"""kubectl finds the plugin `kubectl sb`, which works with a real API server and a running operator."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from devcluster.environment import local_paths
from tests.integration.operator.brains import NAME, Brain, ControllerStub

COMMANDS = f"{Path(sys.executable).parent}:{local_paths().bin}:{os.defpath}"


def sb(brain: Brain, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `kubectl sb` as a person would."""
    flags = ["-n", brain.namespace, f"--kubeconfig={brain.api.server.kubeconfig}"]
    return subprocess.run(
        [str(local_paths().bin / "kubectl"), "sb", *words, *flags],
        env={"PATH": COMMANDS, "HOME": str(Path.home())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_status_tree_shows_conditions_objects_and_events(served: Brain) -> None:
    """`kubectl sb status` shows that a resource serves, its conditions, its objects and its events."""
    done = sb(served, "status", NAME)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"SomaBrain {served.namespace}/{NAME} · Ready · version ")
    assert "1 of 1 pods ready" in lines[0]
    assert any("✓ Ready" in line and "1 of 1 pods serve." in line for line in lines)
    assert any("✓ Degraded" in line for line in lines)
    assert any(f"Deployment {NAME}-server: 1 of 1 ready" in line for line in lines)
    assert any("Pod server-0: ready" in line for line in lines)
    assert any(f"Job {NAME}-migrate-" in line and "Complete" in line for line in lines)


def test_status_shows_failed_migration_and_retry_skips_backoff(brain: Brain, controller_stub: ControllerStub) -> None:
    """The tree shows why a migration failed, and `retry-migration` starts the next attempt before the back-off ends."""
    brain.apply()
    controller_stub.fail_migration("The migration failed: division by zero.")
    brain.until("Migrated", "False", "division by zero")
    output = sb(brain, "status").stdout
    assert "✗ Migrated" in output
    assert "division by zero" in output
    assert sb(brain, "retry-migration", NAME).returncode == 0
    assert brain.job(attempt=2)


def test_pause_keeps_edits_and_resume_reverts_them(served: Brain) -> None:
    assert "is paused" in sb(served, "pause", NAME).stdout
    served.until("Paused", "True")
    assert "is resumed" in sb(served, "resume", NAME).stdout
    served.until("Paused", "False")


def test_missing_resource_is_reported_without_traceback(brain: Brain) -> None:
    assert "There is no SomaBrain in namespace" in sb(brain, "status").stdout
    done = sb(brain, "pause", "nobody")
    assert (done.returncode, "not found" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
