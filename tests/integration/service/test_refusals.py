"""Who is not let in, over gRPC: without a detail that would help an attacker."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import grpc
import grpc.aio
import pytest

from somabrain.memory.v1 import memory_service_pb2, memory_service_pb2_grpc
from somabrain_client import MemoryClient, RetryPolicy
from somabrain_client.errors import PermissionDeniedError, UnauthenticatedError
from somabrain_local.loopback import opa
from tests.integration.service.conftest import POLICIES, Connect
from tests.integration.service.issuer import Issuer, new_key
from tests.integration.service.running import Running, service

PUBLIC = "The call carries no valid token. Send `authorization: Bearer <token>`."


def unsigned(idp: Issuer) -> str:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": "k1"}).encode()).rstrip(b"=").decode()
    return f"{header}.{idp.token().split('.')[1]}."


def bad_tokens(idp: Issuer) -> dict[str, str | None]:
    return {
        "missing": None,
        "malformed": "rubbish",
        "expired": idp.token(life_s=-60),
        "wrong_audience": idp.token(aud="another"),
        "wrong_issuer": idp.token(iss="https://another.example"),
        "wrong_algorithm": unsigned(idp),
        "wrong_signature": idp.token(key=new_key()),
        "tenant_missing": idp.token(None),
    }


@pytest.mark.parametrize(
    "cause",
    ["missing", "malformed", "expired", "wrong_audience", "wrong_issuer", "wrong_algorithm", "wrong_signature",
     "tenant_missing"],
)  # fmt: skip
async def test_a_bad_token_is_unauthenticated_without_detail(
    connect: Connect, brain: Running, idp: Issuer, cause: str
) -> None:
    def failures() -> float:
        name = f'somabrain_auth_failures_total{{cause="{cause}"}}'
        return sum(float(line.split()[-1]) for line in brain.get("/metrics")[1].splitlines() if line.startswith(name))

    before = failures()
    async with connect(token=bad_tokens(idp)[cause]) as client:
        with pytest.raises(UnauthenticatedError) as caught:
            await client.recall("notes", "anything")
    assert caught.value.message == PUBLIC
    assert caught.value.reason == "UNAUTHENTICATED"
    assert dict(caught.value.explanation.metadata) == {}
    assert failures() == before + 1


async def test_two_tokens_are_none(brain: Running, idp: Issuer) -> None:
    metadata = tuple(("authorization", f"Bearer {idp.token(tenant)}") for tenant in ("a", "b"))
    async with grpc.aio.insecure_channel(brain.address) as channel:
        stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Recall(memory_service_pb2.RecallRequest(), metadata=metadata)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_megabyte_of_metadata_is_refused_by_grpc_itself(brain: Running, idp: Issuer) -> None:
    metadata = (("authorization", f"Bearer {idp.token()}"), ("x-much", "m" * 1_000_000))
    async with grpc.aio.insecure_channel(brain.address) as channel:
        stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Recall(memory_service_pb2.RecallRequest(), metadata=metadata, timeout=10)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_policy_that_denies_names_its_rule(folder: Path, settings: dict[str, object], idp: Issuer) -> None:
    """Where a scope claim is configured, a token without the method's scope is denied."""
    with service(folder, {**settings, "auth__scope_claim": "/scope"}) as running:
        running.wait_until_ready()
        reader = MemoryClient(running.address, token=idp.token("a", scope="memory.read"))
        nobody = MemoryClient(running.address, token=idp.token("a"))
        async with reader, nobody:
            with pytest.raises(
                PermissionDeniedError, match=r"scope_held: .*/CreateNamespace needs the scope memory.admin"
            ):
                await reader.create_namespace("notes")
            with pytest.raises(PermissionDeniedError, match=r"scope_held: .*/Recall needs the scope memory.read"):
                await nobody.recall("notes", "anything")


async def test_a_policy_engine_that_is_stopped_denies_after_five_seconds(
    folder: Path, settings: dict[str, object], idp: Issuer
) -> None:
    """The kept decision lasts its five seconds; what is not kept is denied at once."""
    with opa(POLICIES) as engine:
        changed = {**settings, "policy__url": f"{engine.url}/v1/data/sb/policy"}
        with service(folder, changed) as running:
            running.wait_until_ready()
            client = MemoryClient(running.address, token=idp.token("opa"), retry=RetryPolicy(max_attempts=1))
            async with client:
                await client.create_namespace("notes")
                await client.recall("notes", "anything")
                engine.stop()
                await client.recall("notes", "anything")
                with pytest.raises(PermissionDeniedError, match="policy engine cannot be reached"):
                    await client.recall("elsewhere", "anything")
                await asyncio.sleep(5)
                with pytest.raises(PermissionDeniedError, match="policy engine cannot be reached"):
                    await client.recall("notes", "anything")
