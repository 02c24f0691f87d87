"""The platform's chart from installation to uninstall, with data, in its own namespace: `make e2e-full`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from examples.kubectl import Kubectl, run

pytestmark = pytest.mark.timeout(1500)  # seven servers, two of them Java, three times

RELEASE = "platform"
KINDS = (
    "pods,deployments,statefulsets,jobs,services,configmaps,secrets,serviceaccounts,roles,rolebindings,"
    "persistentvolumeclaims"
)
OF_KUBERNETES = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
RETAINED = {
    "secret/postgresql",
    *(f"persistentvolumeclaim/data-{name}-0" for name in ("postgresql", "etcd", "kafka")),
}
"""Objects that an uninstallation leaves, by docs/operations.md and the chart's NOTES."""


@dataclass(frozen=True, slots=True)
class Infra:
    """The release, and its PostgreSQL as superuser."""

    kubectl: Kubectl
    namespace: str

    def helm(self, *words: str) -> str:
        return run("helm", *words, "-n", self.namespace, "--kubeconfig", str(self.kubectl.kubeconfig), timeout_s=660)

    def sql(self, statement: str) -> str:
        words = (
            "psql",
            "--host=/var/run/postgresql",
            "--username=postgres",
            "--dbname=somabrain",
            "--no-psqlrc",
            "--set=ON_ERROR_STOP=1",
            "--tuples-only",
            "--no-align",
            "--quiet",
            "--file=-",
        )
        return self.kubectl("exec", "-i", "-n", self.namespace, "postgresql-0", "--", *words, stdin=statement).strip()

    def objects(self) -> set[str]:
        """All objects in the namespace, and cluster-scoped ones of the release."""
        inside = set(self.kubectl("get", KINDS, "-n", self.namespace, "--output=name").split())
        cluster_scoped = self.kubectl("get", "clusterroles,clusterrolebindings", "--output=name").split()
        return (inside - OF_KUBERNETES) | {name for name in cluster_scoped if f"/{self.namespace}-{RELEASE}-" in name}


@pytest.fixture
def infra(kubectl: Kubectl) -> Iterator[Infra]:
    namespace = f"infra-{uuid4().hex[:5]}"
    kubectl.ensure_namespace(namespace)
    yield Infra(kubectl, namespace)
    kubectl("delete", "namespace", namespace, "--wait=false")


def test_soma_infra_lifecycle_preserves_data_and_leaves_only_claims(infra: Infra) -> None:
    """A row in the profile full survives upgrade, rollback, and uninstall followed by another install.

    What is left at the end are the claims and the password that the pages name; with them the row is back.
    """
    chart = ("helm/charts/soma-infra", "--wait", "--timeout", "10m")
    infra.helm("install", RELEASE, *chart, "--set", "profile=full")
    assert infra.helm("test", RELEASE, "--timeout", "10m").count("Phase:          Succeeded") == 7
    infra.sql("CREATE TABLE kept AS SELECT 'in the first revision' AS told")
    before = infra.sql("SHOW work_mem")

    infra.helm("upgrade", RELEASE, *chart, "--reuse-values", "--set", "postgresql.parameters.work_mem=24MB")
    assert (infra.sql("SHOW work_mem"), infra.sql("SELECT told FROM kept")) == ("24MB", "in the first revision")

    infra.helm("rollback", RELEASE, "1", "--wait", "--timeout", "10m")
    assert (infra.sql("SHOW work_mem"), infra.sql("SELECT told FROM kept")) == (before, "in the first revision")

    infra.helm("uninstall", RELEASE, "--wait", "--timeout", "5m")
    infra.kubectl("wait", "--for=delete", "pods", "--all", "-n", infra.namespace, "--timeout=120s", timeout_s=130)
    assert infra.objects() == RETAINED

    infra.helm("install", RELEASE, *chart)
    assert infra.sql("SELECT told FROM kept") == "in the first revision"
