"""A real kube-apiserver on loopback with the operator's chart installed, and the operator under its own account."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster.loopback import ApiServer, api_server
from tests.integration.operator.api import Api, api_of
from tests.integration.operator.brains import Brain, ControllerStub
from tests.integration.operator.chart import account_of, install
from tests.integration.operator.process import Operator, operator


@pytest.fixture(scope="session")
def server() -> Iterator[ApiServer]:
    with api_server() as running:
        yield running


@pytest.fixture(scope="session")
def api(server: ApiServer) -> Iterator[Api]:
    """The API server with CRD, account and rights installed from the chart."""
    with api_of(server) as verbs:
        install(verbs)
        yield verbs


@pytest.fixture(scope="session")
def account(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of the operator's own service account."""
    return account_of(api, tmp_path_factory.mktemp("account"))


@pytest.fixture(scope="session")
def running(account: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """The operator, for all tests that do not need a separate one."""
    with operator(account, tmp_path_factory.mktemp("operator") / "log") as started:
        started.wait_until_started()
        yield started


@pytest.fixture
def namespace(api: Api) -> str:
    name = f"t-{uuid.uuid4().hex[:8]}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture
def brain(api: Api, running: Operator, namespace: str) -> Iterator[Brain]:
    """A namespace with the Secrets of a SomaBrain, and a running operator; the resource is deleted afterwards."""
    created = Brain(api, namespace)
    created.secrets()
    yield created
    for resource in api.objects("SomaBrain", namespace):
        api.delete("SomaBrain", str(resource["metadata"]["name"]), namespace)


@pytest.fixture
def controller_stub(brain: Brain) -> ControllerStub:
    return ControllerStub(brain)


@pytest.fixture
def served(brain: Brain, controller_stub: ControllerStub) -> Brain:
    """A SomaBrain that is Ready."""
    brain.apply()
    controller_stub.serve()
    return brain
