"""The local cluster with both charts installed once, and a namespace for each test."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from examples.kubectl import ROOT, Kubectl, run
from examples.outdated_pods import replace_outdated_pods
from tests.e2e.support.brains import DATABASE, MIGRATION, Brain
from tests.e2e.support.chaos import Chaos
from tests.e2e.support.database import INFRA, Database
from tests.e2e.support.faults import OPERATOR
from tests.e2e.support.operators import Release

TIMEOUT_S = 300


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options for the seed of the chaos test and for all of its faults."""
    parser.addoption("--chaos-seed", type=int, default=1, metavar="N", help="the order of the faults")
    parser.addoption("--chaos-whole", action="store_true", help="all faults, not the few that take least")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test of this folder the timeout that pods need, unless it has one of its own."""
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "e2e") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


MEASURED = pytest.StashKey[list[str]]()
Measured = Callable[[str], None]


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Record a measurement for the summary at the end."""
    lines = request.config.stash.setdefault(MEASURED, [])
    return lambda words: lines.append(f"{request.node.name}: {words}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the measurements at any verbosity."""
    if lines := config.stash.get(MEASURED, []):
        terminalreporter.section("measured on the cluster")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def kubectl(request: pytest.FixtureRequest) -> Kubectl:
    """kubectl as administrator of the local cluster (`make e2e` starts it); on kind, pytest-kind's fixture."""
    if request.config.getoption("keep_cluster"):
        return Kubectl(request.getfixturevalue("kind_cluster").kubeconfig_path)
    return Kubectl.of_local_cluster()


@pytest.fixture(scope="session")
def node_address() -> str:
    return run(sys.executable, "-m", "devcluster", "node-address").strip()


@pytest.fixture(scope="session")
def installed(kubectl: Kubectl) -> None:
    """Both charts installed and ready, without leftovers of an aborted run."""
    kubectl("delete", "namespace", "-l", "e2e=true", "--ignore-not-found", timeout_s=180)
    subprocess.run([ROOT / "scripts" / "install_charts.sh", kubectl.kubeconfig], check=True)
    Release(kubectl).upgrade()
    replace_outdated_pods(kubectl, (OPERATOR,))
    for namespace, workload in ((INFRA, "statefulset/postgresql"), (OPERATOR, "deployment/somabrain-operator")):
        kubectl("rollout", "status", "-n", namespace, workload, "--timeout=180s", timeout_s=190)


@pytest.fixture(scope="session")
def database(kubectl: Kubectl, installed: None) -> Database:
    """PostgreSQL as its administrator."""
    database = Database(kubectl)
    database.reach()
    for name in database.sql("SELECT datname FROM pg_database WHERE datname LIKE 'e2e%'").split():
        database.drop(name)
    return database


@pytest.fixture
def namespace(kubectl: Kubectl, database: Database, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace that enforces the restricted profile and has the database's Secrets."""
    name = _namespace(kubectl, request.node.name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def another_namespace(kubectl: Kubectl, request: pytest.FixtureRequest) -> Iterator[str]:
    """A second namespace, for a second tenant or another SomaBrain."""
    name = _namespace(kubectl, request.node.name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def _namespace(kubectl: Kubectl, test: str) -> str:
    words = re.sub("[^a-z0-9]+", "-", test.removeprefix("test_").lower())[:40].strip("-")
    name = f"e2e-{words}-{uuid4().hex[:5]}"
    kubectl.ensure_namespace(name)
    kubectl("label", "namespace", name, "e2e=true")
    for secret in (DATABASE, MIGRATION):
        kubectl.copy_secret(secret, INFRA, name)
    return name


@pytest.fixture
def brain(kubectl: Kubectl, node_address: str, namespace: str) -> Brain:
    """A SomaBrain that is not applied yet, in the test's namespace."""
    return Brain(kubectl, node_address, namespace)


@pytest.fixture(scope="session")
def served(kubectl: Kubectl, node_address: str, database: Database) -> Iterator[Brain]:
    """A SomaBrain that serves, for tests that leave it unchanged."""
    name = _namespace(kubectl, "test_served")
    brain = Brain(kubectl, node_address, name)
    brain.apply()
    asyncio.run(brain.ready())
    yield brain
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def own_database(database: Database, namespace: str) -> Iterator[str]:
    """An empty database, with Secrets for it in the test's namespace."""
    name = "e2e_" + uuid4().hex[:8]
    database.create(name, namespace)
    yield name
    database.drop(name)


@pytest.fixture(scope="session")
def chaos(kubectl: Kubectl, installed: None) -> Iterator[Chaos]:
    """A way to send signals to any process of the node."""
    image = kubectl.get(INFRA, "pod", "postgresql-0")["spec"]["containers"][0]["image"]
    chaos = Chaos(kubectl, "e2e-signals", image)
    chaos.start()
    yield chaos
    kubectl("delete", "namespace", chaos.namespace, "--wait=false")
