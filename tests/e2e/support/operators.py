"""The operator's release with other values for a while, and the report of each of its pods."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from examples.kubectl import Kubectl, Object, run
from somabrain_operator.kube.kinds import BRAIN, CHILDREN, EVENT
from tests.e2e.support.faults import OPERATOR
from tests.support.metrics import read_metrics

CHART = "somabrain-operator"
WRITES = "somabrain_operator_api_writes_total{"


@dataclass(frozen=True, slots=True)
class OperatorPod:
    """One operator."""

    kubectl: Kubectl
    name: str

    def now(self) -> Object:
        """Return the current pod."""
        return self.kubectl.get(OPERATOR, "pod", self.name)

    def restarts(self) -> int:
        """Return how often the kubelet has restarted it."""
        return sum(each["restartCount"] for each in self.now()["status"]["containerStatuses"])

    def health(self) -> Object:
        """Return its report in /healthz."""
        where = f"/api/v1/namespaces/{OPERATOR}/pods/{self.name}:8080/proxy/healthz"
        report: Object = json.loads(self.kubectl("get", "--raw", where))
        return report

    def metrics(self) -> Mapping[str, float]:
        """Return its metrics by name and labels, as exposed."""
        where = f"/api/v1/namespaces/{OPERATOR}/pods/{self.name}:8080/proxy/metrics"
        return read_metrics(self.kubectl("get", "--raw", where))

    def log(self) -> str:
        """Return its whole log."""
        return self.kubectl("logs", "-n", OPERATOR, self.name, "--tail=-1")

    def leads(self) -> bool:
        """Return whether it reports that it leads."""
        return self.metrics()["somabrain_operator_leader"] == 1

    def writes(self) -> Mapping[str, float]:
        """Return the number of its writes by kind and verb, without the Lease."""
        return {
            labels: count
            for labels, count in self.metrics().items()
            if labels.startswith(WRITES) and "Lease" not in labels
        }


@dataclass(frozen=True, slots=True)
class Release:
    """The chart's release, whose values a test may replace."""

    kubectl: Kubectl

    def pods(self) -> list[OperatorPod]:
        """Return the operators, without those that are terminating."""
        return [OperatorPod(self.kubectl, name) for name, leaves in self._all().items() if not leaves]

    def upgrade(self, *settings: str) -> None:
        """Upgrade to exactly these values, and wait until only pods with them are left."""
        flags = [word for each in settings for word in ("--set", each)]
        run(
            "helm",
            "upgrade",
            CHART,
            f"helm/charts/{CHART}",
            "-n",
            OPERATOR,
            "--reset-values",
            *flags,
            "--kubeconfig",
            str(self.kubectl.kubeconfig),
        )
        self.settle()

    def settle(self) -> None:
        """Wait until exactly its own pods exist."""
        self.kubectl("rollout", "status", "-n", OPERATOR, f"deployment/{CHART}", "--timeout=120s", timeout_s=130)
        for name in (name for name, leaves in self._all().items() if leaves):
            self.kubectl("wait", "-n", OPERATOR, f"pod/{name}", "--for=delete", "--timeout=60s", timeout_s=70)

    def _all(self) -> Mapping[str, bool]:
        """Return the name of each pod, and whether it is terminating."""
        pods = self.kubectl.get(OPERATOR, "pods", "-l", f"app.kubernetes.io/name={CHART}")["items"]
        return {pod["metadata"]["name"]: "deletionTimestamp" in pod["metadata"] for pod in pods}


class Right(NamedTuple):
    """A verb on a resource."""

    group: str
    resource: str
    verb: str


def rights(kubectl: Kubectl, namespace: str) -> set[Right]:
    """Return the operator's rights in a namespace, apart from its Lease and from the rights of every account."""
    ours, anyone = (_rights(kubectl, namespace, account) for account in (f"{OPERATOR}:{CHART}", f"{OPERATOR}:default"))
    return {right for right in ours - anyone if right.resource != "leases"}


def _rights(kubectl: Kubectl, namespace: str, account: str) -> set[Right]:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    path, who = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", f"--as=system:serviceaccount:{account}"
    status = json.loads(kubectl("create", "--raw", path, "-f", "-", who, stdin=json.dumps(review)))["status"]
    return {
        Right(group, resource, verb)
        for rule in status["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(writes: Mapping[str, float]) -> set[Right]:
    """Return the rights that an operator's writes required."""
    kinds = {**CHILDREN, EVENT.kind: EVENT, f"{BRAIN.kind}Status": replace(BRAIN, plural=f"{BRAIN.plural}/status")}
    needed = set()
    for name in writes:
        labels = dict(re.findall(r'(\w+)="(\w+)"', name))
        kind, verb = kinds[labels["kind"]], labels["verb"]
        needed.add(Right(kind.group, kind.plural, "patch" if verb == "apply" else verb))
    return needed
