"""Real servers for the adapters, once for all tests of an environment; each test has a separate tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from somabrain_client import RetryPolicy, SyncMemoryClient
from tests.integrations.platform import Platform, running_platform, unique


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    with running_platform() as running:
        yield running


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant, a client of it, and its namespace."""

    name: str
    token: str
    client: SyncMemoryClient
    namespace: str


MakeTenant = Callable[..., Tenant]


@pytest.fixture
def make_tenant(platform: Platform) -> Iterator[MakeTenant]:
    """Create a tenant with an empty namespace; `limited`: at the service with the quota."""
    with ExitStack() as stack:

        def make(*, limited: bool = False, retry: RetryPolicy | None = None) -> Tenant:
            name, namespace = unique(), unique("n")
            token = platform.token(name)
            address = platform.limited if limited else platform.address
            client = stack.enter_context(SyncMemoryClient(address, token=token, retry=retry))
            client.create_namespace(namespace)
            return Tenant(name, token, client, namespace)

        yield make


@pytest.fixture
def tenant(make_tenant: MakeTenant) -> Tenant:
    return make_tenant()
