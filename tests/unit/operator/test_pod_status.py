"""A pod's failure is reported with its container, its cause, and the field that corrects it."""

from __future__ import annotations

from typing import Any

import pytest

from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.observe.pod_status import failure_reason, not_ready_reason, termination_message
from tests.unit.operator.samples import IMAGE, ended, pod, spec, waiting

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
def test_a_container_that_cannot_run_is_explained(
    container: dict[str, Any], desired: SomaBrainSpec, expected: str
) -> None:
    """A container that needs a correction is explained; one that is merely starting is not."""
    assert failure_reason(pod("p", ready=False, containers=[container]), desired) == expected


def test_a_pod_without_a_node_is_explained() -> None:
    """The scheduler's message is passed on."""
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
def test_why_a_pod_does_not_serve(container: dict[str, Any], report: str, expected: str) -> None:
    """A container's failure comes before the server's own report, and that before the last termination."""
    assert not_ready_reason(pod("p", ready=False, containers=[container]), spec(), report) == expected


def test_the_last_words_of_a_container_are_its_message_or_how_it_ended() -> None:
    """Without a termination message, the exit code of a failed container is reported."""
    assert termination_message(pod("p", component="migrate", containers=[ended("no role")]), "migrate") == "no role"
    assert (
        termination_message(pod("p", component="migrate", containers=[ended("", 3)]), "migrate")
        == "it ended with exit code 3."
    )
    assert termination_message(pod("p", component="migrate", containers=[ended("fine", 0)]), "migrate") == ""


def test_of_the_log_of_vault_s_agent_what_it_ended_for_is_said() -> None:
    """Only the final error of the agent's log is reported; the log's tail may begin in the middle of a line."""
    log = (
        "empting again\n2026-01-02T03:04:05.000Z [ERROR] agent: (view) vault.read(secret/data/x): (exceeded retries)\n"
        '2026-01-02T03:04:05.000Z [ERROR] agent: runtime error encountered: error="template server: at <fail \\"x\\">: '
        'secret/data/x in Vault has no key y" exitCode=1\nError encountered during run, refer to logs for details.\n'
    )
    dead = pod("p", component="migrate", containers=[ended(log, name="vault")])
    expected = 'template server: at <fail "x">: secret/data/x in Vault has no key y'
    assert termination_message(dead, "vault", "migrate") == expected
    assert (
        termination_message(pod("p", component="migrate", containers=[ended("no role")]), "vault", "migrate")
        == "no role"
    )
    assert (
        termination_message(pod("p", component="migrate", containers=[ended("killed", name="vault")]), "vault")
        == "killed"
    )


def test_an_error_of_several_lines_becomes_one() -> None:
    """An error of Vault that the agent logs over several lines is joined to one."""
    log = (
        "2026-01-02T03:04:05.000Z [ERROR] agent: runtime error encountered:\n  error=\n  | Error making API request.\n"
        '  | \n  | Code: 400. Errors:\n  | \n  | \\t* invalid role name "typo"\n   exitCode=1\n'
    )
    expected = 'Error making API request. Code: 400. Errors: * invalid role name "typo"'
    assert (
        termination_message(pod("p", component="migrate", containers=[ended(log, name="vault")]), "vault") == expected
    )
