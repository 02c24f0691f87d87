"""kstatus (kpt, Flux, Helm 4), Flux's healthCheckExprs and Argo CD judge statuses that a running operator wrote.

`make kstatus` prints the table of judgements, beside those of the statuses that the previous version writes.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster import previous_release
from devcluster.environment import local_paths
from devcluster.loopback import api_server
from devcluster.progress import Progress
from somabrain_client.kubectl.status_tree import render_tree
from somabrain_operator.kube.names import GROUP, KIND
from tests.integration.operator.api import Api, Object, api_of
from tests.integration.operator.brains import Brain, ControllerStub
from tests.integration.operator.chart import account_of, install, tool, wait_for_kind
from tests.integration.operator.health_cases import CASES, Case, just_applied, just_edited
from tests.integration.operator.process import Operator, former_operator, operator

ARGO_CD, FLUX = Path("examples/argocd/health.lua"), Path("examples/flux/kustomization.yaml")
PATIENCE_S = 12
"""The operator's setting `stall_after_s`: above the time that driving all cases at once takes."""
APPLIED = Case("just applied", lambda *_: None, "InProgress", "Progressing")
EDITED = Case("just edited", lambda *_: None, "InProgress", "Progressing")
ALL = (APPLIED, *CASES, EDITED)
Judgements = Mapping[str, Mapping[str, str]]
KSTATUS_OF = {"Healthy": "Current", "Progressing": "InProgress", "Degraded": "Failed"}


def run_judges(objects: list[Object]) -> list[Judgements]:
    """Return the judgements of the tools, for each object."""
    argv = [tool("kstatus"), str(ARGO_CD), str(FLUX)]
    answer = subprocess.run(argv, input=json.dumps(objects), capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    judgements: list[Judgements] = json.loads(answer.stdout)
    return judgements


def statuses(api: Api, process: AbstractContextManager[Operator], *, previous: bool = False) -> dict[str, Object]:
    """Return the resource of each case as the operator leaves it."""
    brains, cases = {}, [case for case in CASES if case.in_previous or not previous]
    for number, case in enumerate(ALL):
        namespace = f"case-{number}"
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        brains[case.name] = Brain(api, namespace)
        brains[case.name].secrets()

    def drive(case: Case) -> Object:
        brain = brains[case.name]
        case.drive(brain, ControllerStub(brain))
        if case.outlasts_patience and not previous:
            brain.until("Stalled", "True", timeout_s=PATIENCE_S + 20)
        elif case.outlasts_patience:
            time.sleep(PATIENCE_S)
        return brain.resource()

    found = {APPLIED.name: just_applied(brains[APPLIED.name])}
    with process as started:
        started.wait_until_started()
        with ThreadPoolExecutor(len(cases)) as pool:
            found |= dict(zip((each.name for each in cases), pool.map(drive, cases), strict=True))
        brains[EDITED.name].apply()
        brains[EDITED.name].until("Migrated", "False")
    return {**found, EDITED.name: just_edited(brains[EDITED.name])}


@pytest.fixture(scope="module")
def present(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Object]]:
    """The resources as the operator leaves them."""
    folder = tmp_path_factory.mktemp("present")
    with api_server() as server, api_of(server) as api:
        install(api)
        settings = {"SOMABRAIN_OPERATOR__STALL_AFTER_S": str(PATIENCE_S)}
        yield statuses(api, operator(account_of(api, folder), folder / "log", **settings))


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Object]]:
    """The resources as the operator of the previous version leaves them."""
    paths, folder = local_paths(), tmp_path_factory.mktemp("former")
    previous = previous_release.ensure(paths, Progress(paths.cache / "durations.json"))
    definition = yaml.safe_load((previous.checkout / "crds" / "somabrains.somabrain.io.yaml").read_text())
    with api_server() as server, api_of(server) as api:
        for manifest in (
            definition,
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "somabrain-system"}},
        ):
            api.create(manifest)
        wait_for_kind(api)
        yield statuses(api, former_operator(previous.python, server.kubeconfig, folder / "log"), previous=True)


def table(before: Mapping[str, Judgements], after: Mapping[str, Judgements]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| state | kstatus of 0.1 | kstatus | Flux's healthCheckExprs | Argo CD | message |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, each in after.items():
        former = before[name]["kstatus"]["status"] if name in before else "not noticed"
        message = each["argocd"]["message"]
        columns = [each[tool]["status"] for tool in ("kstatus", "fluxExprs", "argocd")]
        yield f"| {' | '.join([name, former, *columns, message])} |"


def test_tools_judge_each_state_correctly(present: dict[str, Object]) -> None:
    """A change is in progress, one that only a person can end has failed, and a hibernated resource is done."""
    for case, each in zip(ALL, run_judges([present[case.name] for case in ALL]), strict=True):
        found = (each["kstatus"]["status"], each["fluxKstatus"]["status"], each["fluxExprs"]["status"])
        assert found == (case.kstatus,) * 3, f"{case.name}: {each} of {present[case.name]['status']}"
        assert each["argocd"]["status"] == case.argocd, f"{case.name}: {each}"
        assert KSTATUS_OF.get(case.argocd, case.kstatus) == case.kstatus


def test_failure_message_is_that_of_the_failed_step(present: dict[str, Object]) -> None:
    """The message of a failure is that of the failed step, with its field and remedy."""
    failed = [case for case in ALL if case.kstatus == "Failed"]
    messages = {
        case.name: each["kstatus"]["message"]
        for case, each in zip(failed, run_judges([present[case.name] for case in failed]), strict=True)
    }
    assert "spec.database.secretRef.name, is not in namespace" in messages["a Secret is not there for long"]
    assert "spec.resources.requests.memory (2Gi)" in messages["an invalid field"]
    assert "somabrain.io/allow-downgrade" in messages["a refused downgrade"]
    assert "nothing is changed while it is paused" in messages["paused before a change"]
    assert all(messages.values())


def test_exactly_one_of_ready_reconciling_stalled_is_true(present: dict[str, Object]) -> None:
    """Each observed resource has exactly one of the three, and the time of its failure unless it is Ready."""
    for case in CASES:
        status: Any = present[case.name]["status"]
        values = {each["type"]: each["status"] for each in status["conditions"]}
        assert [values[kind] for kind in ("Ready", "Reconciling", "Stalled")].count("True") == 1, case.name
        assert values["Ready"] == "False" or "failingSince" not in status


def test_unreconciled_resource_has_ready_unknown(present: dict[str, Object]) -> None:
    """The definition's default status is Ready=Unknown, until an operator writes one."""
    (ready,) = present[APPLIED.name]["status"]["conditions"]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "Unknown", "NotObserved")
    assert "check that one runs" in ready["message"]
    assert any("is the operator running?" in line for line in render_tree(present[APPLIED.name], (), ()))
    assert not any("is the operator running?" in line for line in render_tree(present["serving"], (), ()))


def test_previous_version_was_misjudged_by_tools(present: dict[str, Object], former: dict[str, Object]) -> None:
    """The previous version's states were judged done before any reconcile, or in progress forever. Prints a table."""
    names = [case.name for case in ALL if case.in_previous]
    before = dict(zip(names, run_judges([former[name] for name in names]), strict=True))
    after = dict(zip((case.name for case in ALL), run_judges([present[case.name] for case in ALL]), strict=True))
    print("\n" + "\n".join(table(before, after)))
    assert before["just applied"]["kstatus"]["status"] == "Current"
    for name in ("a refused downgrade", "a key is missing for long", "hibernated"):
        assert before[name]["kstatus"]["status"] == "InProgress"
    differing = [name for name in names if before[name]["kstatus"]["status"] != after[name]["kstatus"]["status"]]
    assert len(differing) >= 10


def test_documented_command_adds_health_script_to_argo_cd(api: Api, namespace: str) -> None:
    """The command of docs/gitops.md adds health.lua to Argo CD's ConfigMap, and leaves its other entries."""
    api.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": {"url": "https://cd"}},
        namespace,
    )
    (command,) = re.findall(r"```sh\n(.+?)```", Path("docs/gitops.md").read_text(), re.DOTALL)
    command = command.replace("--namespace argocd", f"--namespace {namespace}")
    kubectl = f'kubectl() {{ {tool("kubectl")} --kubeconfig "{api.server.kubeconfig}" "$@"; }}; set -o pipefail; '
    done = subprocess.run(["bash", "-c", kubectl + command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    data = api.get("ConfigMap", "argocd-cm", namespace)["data"]
    assert data == {"url": "https://cd", f"resource.customizations.health.{GROUP}_{KIND}": ARGO_CD.read_text()}
