"""A store of LangGraph for each test, by both interfaces."""

from __future__ import annotations

from typing import Any

import pytest

from somabrain_client.integrations.langgraph import SomaBrainStore
from tests.integrations.conftest import Tenant
from tests.integrations.langgraph.blocking import Blocking


@pytest.fixture(params=["sync", "async"])
def store(request: pytest.FixtureRequest, tenant: Tenant) -> Any:
    store = SomaBrainStore(tenant.client, tenant.namespace)
    return store if request.param == "sync" else Blocking(store)
