"""OPA decides each call: a denial names its rule, and without OPA nothing is allowed."""

from __future__ import annotations

import asyncio
import time

import pytest

from somabrain_client import MemoryClient
from somabrain_client.errors import CallError, PermissionDeniedError
from tests.e2e.conftest import Measured
from tests.e2e.support.brains import Brain
from tests.e2e.support.chaos import Chaos
from tests.e2e.support.waiting import eventually

DECISION_TTL_S = 5
POLICY = """package sb.policy

default allow := false

allow if not forbidden

forbidden if {
    endswith(input.method, "/ForgetMemory")
    input.namespace == "archive"
}

reasons contains "archive_is_kept: nothing in the archive is forgotten" if forbidden
"""


def put_policy(brain: Brain, words: str) -> None:
    """Create or change the policy's ConfigMap."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rules"}, "data": {"sb.rego": words}}
    brain.kubectl.apply(brain.namespace, config)


def servers(brain: Brain) -> dict[str, bool]:
    """Return for each pod whether its server has started."""
    statuses = {pod["metadata"]["name"]: pod["status"].get("containerStatuses", []) for pod in brain.pods()}
    return {
        name: any(each["name"] == "server" and each.get("started") for each in containers)
        for name, containers in statuses.items()
    }


async def test_denying_rule_is_named_and_unreadable_policy_reaches_no_caller(brain: Brain) -> None:
    """The resource's own policy denies by its rule's name, and allows the rest.

    With a policy that OPA cannot read, the new pod's server does not even start, and the old pod serves on.
    """
    await asyncio.to_thread(put_policy, brain, POLICY)
    await asyncio.to_thread(brain.apply, opa={"policy": {"configMapRef": {"name": "rules"}}})
    await brain.ready()
    async with brain.client() as client:
        for name in ("archive", "desk"):
            await client.create_namespace(name)
        archived, free = [await client.remember(name, "The contract of 1988.") for name in ("archive", "desk")]
        with pytest.raises(PermissionDeniedError, match="archive_is_kept"):
            await client.forget(archived.name)
        await client.forget(free.name)
        (old,) = await asyncio.to_thread(servers, brain)
        await asyncio.to_thread(put_policy, brain, "package sb.policy\nallow if {")
        await brain.until("Degraded", "True", "opa")
        await eventually(lambda: servers(brain), lambda now: len(now) == 2, "no new pod")
        assert [name for name, started in servers(brain).items() if started] == [old]
        assert (await client.get(archived.name)).text == "The contract of 1988."


async def test_stopped_opa_denies_after_cache_ttl(served: Brain, chaos: Chaos, measured: Measured) -> None:
    """With OPA stopped a cached decision is valid for five seconds at most, then every call is denied."""
    (pod,) = await asyncio.to_thread(served.pods)
    name = pod["metadata"]["name"]
    with served.kubectl.forward(served.namespace, f"pod/{name}", 50052) as address:
        async with served.client(address=address) as client:
            await client.create_namespace("guarded")
            await client.recall("guarded", "anything")
            await asyncio.to_thread(chaos.signal, "STOP", pod, "opa")
            stopped = time.monotonic()
            try:
                denied_after = await _denied(client, stopped)
                with pytest.raises(PermissionDeniedError, match="policy engine"):
                    await client.remember("guarded", "Not without OPA.")
            finally:
                await asyncio.to_thread(chaos.signal, "CONT", pod, "opa")
    measured(f"denied {denied_after:.1f} s after OPA was stopped")
    assert denied_after < DECISION_TTL_S + 2
    await served.ready()
    async with served.client() as client:
        assert [memory async for memory in client.list("guarded")] == []


async def _denied(client: MemoryClient, since: float) -> float:
    """Call until denied, and return how long that took."""
    while True:
        try:
            await client.recall("guarded", "anything")
        except PermissionDeniedError:
            return time.monotonic() - since
        except CallError as other:
            pytest.fail(f"denied as {other.code.name} and not as PERMISSION_DENIED: {other.message}")
        assert time.monotonic() - since < 3 * DECISION_TTL_S, "still allowed without OPA"
        await asyncio.sleep(0.2)
