"""A pod's failure is reported with its container, its cause, and the field that corrects it."""

from __future__ import annotations

from typing import Any

import pytest

from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.observe.pod_status import failure_reason, not_ready_reason, termination_message
from tests.unit.operator.samples import IMAGE, pod, spec, terminated, waiting

CRASH = {
    **waiting("CrashLoopBackOff"),
    "lastState": {"terminated": {"exitCode": 2, "reason": "Error", "message": "SOMABRAIN_X is no setting"}},
}
KILLED = {
    "name": "server",
    "ready": False,
    "restartCount": 1,
    "state": {"running": {}},
    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "listening"}},
}


@pytest.mark.parametrize(
    ("container", "desired", "expected"),
    [
        (
            waiting("ImagePullBackOff"),
            spec(image="a/b:c"),
            (
                f"the image {IMAGE} of container server cannot be pulled (ImagePullBackOff); "
                "correct spec.image or let the node reach the registry."
            ),
        ),
        (
            waiting("ErrImagePull"),
            spec(version="9"),
            (
                f"the image {IMAGE} of container server cannot be pulled (ErrImagePull); "
                "correct spec.version or let the node reach the registry."
            ),
        ),
        (
            waiting("ErrImagePull", name="opa"),
            spec(),
            (
                f"the image {IMAGE} of container opa cannot be pulled (ErrImagePull); "
                "correct spec.opa.image or let the node reach the registry."
            ),
        ),
        (CRASH, spec(), "container server keeps exiting (exit code 2): SOMABRAIN_X is no setting."),
        (
            waiting("CreateContainerConfigError", 'secret "x" not found'),
            spec(),
            'container server cannot start (CreateContainerConfigError): secret "x" not found.',
        ),
        (waiting("ContainerCreating"), spec(), ""),
        (waiting("PodInitializing"), spec(), ""),
    ],
)
def test_container_failure_is_explained(container: dict[str, Any], desired: SomaBrainSpec, expected: str) -> None:
    """A container that needs a correction is explained; one that is merely starting is not."""
    assert failure_reason(pod("p", ready=False, containers=[container]), desired) == expected


def test_unschedulable_pod_is_explained() -> None:
    """The reason contains the scheduler's message."""
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: too little memory"}
    assert failure_reason(pod("p", ready=False, extra=[condition]), spec()) == (
        "it cannot be scheduled: 0/1 nodes are available: too little memory."
    )


@pytest.mark.parametrize(
    ("container", "report", "expected"),
    [
        ({"name": "server", "state": {"running": {}}}, "PostgreSQL cannot be reached", "PostgreSQL cannot be reached."),
        (KILLED, "", "container server was restarted (OOMKilled, exit code 137)."),
        ({"name": "server", "state": {"running": {}}}, "", "it is starting."),
        (
            waiting("ErrImagePull"),
            "PostgreSQL cannot be reached",
            (
                f"the image {IMAGE} of container server cannot be pulled (ErrImagePull); "
                "correct spec.image: it is not set, and the registry has no image of the operator's own version."
            ),
        ),
    ],
)
def test_not_ready_reason_precedence(container: dict[str, Any], report: str, expected: str) -> None:
    """A container's failure takes precedence over the server's report, and that over the last termination."""
    assert not_ready_reason(pod("p", ready=False, containers=[container]), spec(), report) == expected


def test_termination_message_falls_back_to_exit_code() -> None:
    """Without a termination message, the exit code of a failed container is reported."""
    assert (
        termination_message(pod("p", component="migrate", containers=[terminated("no role")]), "migrate") == "no role"
    )
    assert (
        termination_message(pod("p", component="migrate", containers=[terminated("", 3)]), "migrate")
        == "it ended with exit code 3."
    )
    assert termination_message(pod("p", component="migrate", containers=[terminated("fine", 0)]), "migrate") == ""


def test_termination_message_extracts_vault_agent_error() -> None:
    """Only the final error of the agent's log is reported; the log's tail may begin in the middle of a line."""
    log = (
        "empting again\n2026-01-02T03:04:05.000Z [ERROR] agent: (view) vault.read(secret/data/x): (exceeded retries)\n"
        '2026-01-02T03:04:05.000Z [ERROR] agent: runtime error encountered: error="template server: at <fail \\"x\\">: '
        'secret/data/x in Vault has no key y" exitCode=1\nError encountered during run, refer to logs for details.\n'
    )
    dead = pod("p", component="migrate", containers=[terminated(log, name="vault")])
    expected = 'template server: at <fail "x">: secret/data/x in Vault has no key y'
    assert termination_message(dead, "vault", "migrate") == expected
    assert (
        termination_message(pod("p", component="migrate", containers=[terminated("no role")]), "vault", "migrate")
        == "no role"
    )
    assert (
        termination_message(pod("p", component="migrate", containers=[terminated("killed", name="vault")]), "vault")
        == "killed"
    )


def test_multiline_vault_error_is_joined() -> None:
    """An error of Vault that the agent logs over several lines is joined to one."""
    log = (
        "2026-01-02T03:04:05.000Z [ERROR] agent: runtime error encountered:\n  error=\n  | Error making API request.\n"
        '  | \n  | Code: 400. Errors:\n  | \n  | \\t* invalid role name "typo"\n   exitCode=1\n'
    )
    expected = 'Error making API request. Code: 400. Errors: * invalid role name "typo"'
    assert (
        termination_message(pod("p", component="migrate", containers=[terminated(log, name="vault")]), "vault")
        == expected
    )
