"""The charts on a real cluster."""

from __future__ import annotations

from examples.kubectl import Kubectl, run
from tests.e2e.support.database import INFRA, Database

CHART, OPERATOR = "somabrain-operator", "somabrain-system"


def test_helm_upgrade_preserves_passwords(kubectl: Kubectl, database: Database) -> None:
    """`helm upgrade` changes no password, so that existing DSNs stay valid."""
    names = ("postgresql", "somabrain-database", "somabrain-migration")
    before = {name: kubectl.get(INFRA, "secret", name)["data"] for name in names}
    run("helm", "upgrade", INFRA, "helm/charts/soma-infra", "-n", INFRA, "--kubeconfig", kubectl.kubeconfig)
    assert {name: kubectl.get(INFRA, "secret", name)["data"] for name in names} == before
    assert database.sql_as("worker", "SELECT current_user") == "somabrain_worker"


def test_helm_test_checks_the_database(kubectl: Kubectl, database: Database) -> None:
    """`helm test` logs in as each role and computes a distance."""
    run("helm", "test", INFRA, "-n", INFRA, "--kubeconfig", kubectl.kubeconfig, timeout_s=120)


def test_helm_test_checks_the_operator(kubectl: Kubectl, installed: None) -> None:
    """`helm test` requests the operator's health through its Service."""
    run("helm", "test", CHART, "-n", OPERATOR, "--kubeconfig", kubectl.kubeconfig, timeout_s=120)


def test_postgresql_is_configured_for_durability(database: Database) -> None:
    """PostgreSQL syncs to disk before it acknowledges a write, and verifies checksums when it reads."""
    for name in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
        assert database.sql(f"SHOW {name}") == "on"
