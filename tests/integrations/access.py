"""Checks for every adapter: tenants are isolated, and a revoked token, a read-only tenant and a quota are enforced."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import pytest

from somabrain_client import SyncMemoryClient
from somabrain_client.errors import (
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
)
from tests.integrations.conftest import MakeTenant, Tenant
from tests.integrations.platform import Platform

Write = Callable[[SyncMemoryClient, str, str], Awaitable[object]]
"""Store a text in a namespace by the adapter."""
Read = Callable[[SyncMemoryClient, str], Awaitable[list[str]]]
"""Return all texts that the adapter finds in a namespace."""
REVOKED_WITHIN_S = 10.0


async def check_tenants(make_tenant: MakeTenant, write: Write, read: Read) -> None:
    """A tenant reaches neither another's namespace nor, in one of the same name, another's texts."""
    mine, other = make_tenant(), make_tenant()
    await write(mine.client, mine.namespace, "a secret heron")
    with pytest.raises(NotFoundError):
        await read(other.client, mine.namespace)
    other.client.create_namespace(mine.namespace)
    assert await read(other.client, mine.namespace) == []
    assert await read(mine.client, mine.namespace) == ["a secret heron"]


async def check_revoked_token(tenant: Tenant, platform: Platform, write: Write, read: Read) -> None:
    """A token that was revoked reads and writes nothing; another token of the tenant still reads the stored text."""
    await write(tenant.client, tenant.namespace, "a stored heron")
    platform.run("revoke", token=tenant.token)
    ends_at = time.monotonic() + REVOKED_WITHIN_S
    while True:
        try:
            await read(tenant.client, tenant.namespace)
        except UnauthenticatedError:
            break
        assert time.monotonic() < ends_at, "the revoked token is still accepted"
    with pytest.raises(UnauthenticatedError):
        await write(tenant.client, tenant.namespace, "a refused heron")
    with SyncMemoryClient(platform.address, token=platform.token(tenant.name)) as client:
        assert await read(client, tenant.namespace) == ["a stored heron"]


async def check_read_only(tenant: Tenant, platform: Platform, write: Write, read: Read) -> None:
    """A tenant that may only read can read, and cannot write."""
    await write(tenant.client, tenant.namespace, "a stored heron")
    platform.run("make_read_only", tenant=tenant.name)
    assert await read(tenant.client, tenant.namespace) == ["a stored heron"]
    with pytest.raises(PermissionDeniedError):
        await write(tenant.client, tenant.namespace, "a refused heron")
    assert await read(tenant.client, tenant.namespace) == ["a stored heron"]


async def check_quota(make_tenant: MakeTenant, platform: Platform, write: Write, read: Read) -> None:
    """The write that exceeds the tenant's quota is refused, and earlier memories remain."""
    tenant = make_tenant(limited=True)
    texts = [f"heron number {number}" for number in range(platform.quota)]
    for text in texts:
        await write(tenant.client, tenant.namespace, text)
    with pytest.raises(ResourceExhaustedError):
        await write(tenant.client, tenant.namespace, "one heron too many")
    assert sorted(await read(tenant.client, tenant.namespace)) == texts
