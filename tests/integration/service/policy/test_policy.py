"""The policy, decided by a real OPA."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from aiohttp import web

from common.config.settings import PolicySettings
from common.errors import PermissionDenied
from common.utils.auth_client import Identity
from devcluster.environment import local_paths
from devcluster.loopback import Opa, opa
from somabrain_service.authz.opa import policy_client
from somabrain_service.metrics import Metrics
from tests.integration.service.answering import NESTED, serving

POLICIES = Path("common/policy")
REMEMBER = "/somabrain.memory.v1.MemoryService/Remember"


@pytest.fixture
def engine() -> Iterator[Opa]:
    with opa(POLICIES) as running:
        yield running


def identity(scopes: frozenset[str] | None = None, tenant: str = "a") -> Identity:
    return Identity("agent", tenant, "issuer", scopes, 0.0)


def settings(engine: Opa, path: str = "/v1/data/sb/policy", cache_s: float = 5.0) -> PolicySettings:
    return PolicySettings(url=f"{engine.url}{path}", cache_s=cache_s)


def test_default_policy_passes_opa_tests_with_full_coverage() -> None:
    """`opa test` passes and covers every line, and OPA's formatter and strict checks have no complaint."""
    for command in (
        ["test", "-v"],
        ["test", "--coverage", "--threshold", "100"],
        ["check", "--strict"],
        ["fmt", "--fail", "--list"],
    ):
        done = subprocess.run(
            [local_paths().bin / "opa", *command, POLICIES], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


async def test_tenant_is_allowed_and_missing_scope_is_named(engine: Opa) -> None:
    async with policy_client(settings(engine), Metrics()) as policy:
        await policy.require(identity(), REMEMBER, "notes")
        await policy.require(identity(frozenset({"memory.write"})), REMEMBER, "notes")
        with pytest.raises(PermissionDenied, match=f"scope_held: {REMEMBER} needs the scope memory.write"):
            await policy.require(identity(frozenset({"memory.read"})), REMEMBER, "notes")
        with pytest.raises(PermissionDenied, match="tenant_present"):
            await policy.require(identity(tenant=""), REMEMBER, "notes")


async def test_undefined_policy_denies(engine: Opa) -> None:
    async with policy_client(settings(engine, "/v1/data/no/such/policy"), Metrics()) as policy:
        with pytest.raises(PermissionDenied, match="the policy is undefined"):
            await policy.require(identity(), REMEMBER, "notes")


async def test_engine_error_denies(engine: Opa) -> None:
    async with policy_client(settings(engine, "/v1/nothing"), Metrics()) as policy:
        with pytest.raises(PermissionDenied, match=r"could not decide \(HTTP 404\)"):
            await policy.require(identity(), REMEMBER, "notes")


CONFLICT = """
package sb.policy
allow := true if "memory.read" in input.scopes
allow := false if input.namespace == "secret"
"""


async def test_policy_evaluation_error_differs_from_unreachable_engine(tmp_path: Path) -> None:
    """Both deny the caller with different messages; the log has OPA's code and place once, and a metric counts it."""
    (tmp_path / "conflict.rego").write_text(CONFLICT)
    reader, metrics = identity(frozenset({"memory.read"})), Metrics()
    with opa(tmp_path) as engine, structlog.testing.capture_logs() as logs:
        async with policy_client(settings(engine), metrics) as policy:
            await policy.require(reader, REMEMBER, "open")
            for _ in range(3):
                with pytest.raises(PermissionDenied, match=r"could not decide \(HTTP 500\)") as denied:
                    await policy.require(reader, REMEMBER, "secret")
    (told,) = (line for line in logs if line["event"] == "policy not evaluated")
    assert "eval_conflict_error" in told["reason"]
    assert "conflict.rego" in told["reason"]
    assert "rego" not in denied.value.message
    exposed = metrics.exposition().decode()
    assert 'somabrain_policy_decisions_total{outcome="failed",source="engine"} 3.0' in exposed
    assert "unreachable" not in exposed


@pytest.mark.parametrize("body", [NESTED, "<html>", "{"], ids=["nested", "HTML", "cut off"])
async def test_malformed_engine_response_denies(body: str) -> None:
    """A body that cannot be parsed denies with a message, whatever is wrong with it."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    async with serving(answer) as url, policy_client(PolicySettings(url=url), Metrics()) as policy:
        with pytest.raises(PermissionDenied, match="gave an invalid response"):
            await policy.require(identity(), REMEMBER, "notes")


async def test_engine_timeout_denies() -> None:
    """A call is denied after the timeout when the engine accepts the connection and does not answer."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    left = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    slow = PolicySettings(url=f"http://127.0.0.1:{port}/v1/data/sb/policy", timeout_s=0.2)
    async with server, policy_client(slow, Metrics()) as policy:
        with pytest.raises(PermissionDenied, match="cannot be reached"):
            async with asyncio.timeout(2):
                await policy.require(identity(), REMEMBER, "notes")
        await left.wait()


async def test_cached_decision_outlives_engine_only_for_its_ttl(engine: Opa) -> None:
    async with policy_client(settings(engine, cache_s=1.0), Metrics()) as policy:
        await policy.require(identity(), REMEMBER, "notes")
        engine.stop()
        await policy.require(identity(), REMEMBER, "notes")
        with pytest.raises(PermissionDenied, match="cannot be reached"):
            await policy.require(identity(), REMEMBER, "another")
        await asyncio.sleep(1.1)
        with pytest.raises(PermissionDenied, match="cannot be reached"):
            await policy.require(identity(), REMEMBER, "notes")


async def test_limits_mounted_beside_the_policy_apply(tmp_path: Path) -> None:
    """Limits in a file of OPA's folder, where a ConfigMap would be mounted, take effect."""
    shutil.copy(POLICIES / "sb.rego", tmp_path)
    limits = {"read_only_tenants": ["archive"], "namespaces": {"a": {"agent": ["notes-*"]}}}
    (tmp_path / "limits.json").write_text(json.dumps({"sb": {"limits": limits}}))
    with opa(tmp_path) as engine:
        async with policy_client(settings(engine), Metrics()) as policy:
            await policy.require(identity(), REMEMBER, "notes-1")
            with pytest.raises(PermissionDenied, match="namespace_reachable"):
                await policy.require(identity(), REMEMBER, "reports")
            await policy.require(identity(tenant="archive"), REMEMBER.replace("Remember", "Recall"), "reports")
            with pytest.raises(PermissionDenied, match="tenant_writable: the tenant is read-only"):
                await policy.require(identity(tenant="archive"), REMEMBER, "reports")


async def test_concurrent_identical_queries_are_sent_once(engine: Opa) -> None:
    metrics = Metrics()
    async with policy_client(settings(engine, cache_s=0), metrics) as policy:
        await asyncio.gather(*(policy.require(identity(), REMEMBER, "notes") for _ in range(100)))
    assert "somabrain_policy_seconds_count 1.0" in metrics.exposition().decode()


async def test_decisions_are_counted_by_outcome_and_source(engine: Opa) -> None:
    metrics = Metrics()
    async with policy_client(settings(engine), metrics) as policy:
        for _ in range(3):
            await policy.require(identity(), REMEMBER, "notes")
    exposed = metrics.exposition().decode()
    assert 'somabrain_policy_decisions_total{outcome="allowed",source="engine"} 1.0' in exposed
    assert 'somabrain_policy_decisions_total{outcome="allowed",source="cache"} 2.0' in exposed
