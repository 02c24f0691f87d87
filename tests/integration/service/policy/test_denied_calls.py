"""Calls that are refused over gRPC, without a detail that would help an attacker."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast

import grpc
import grpc.aio
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf.descriptor import MethodDescriptor

from devcluster.loopback import opa
from somabrain.memory.v1 import memory_service_pb2, memory_service_pb2_grpc
from somabrain_client import MemoryClient, RetryPolicy
from somabrain_client.errors import PermissionDeniedError, UnauthenticatedError
from tests.contract import METHODS, path, sample_request
from tests.integration.service.conftest import POLICIES, Connect
from tests.integration.service.issuer import Issuer, issuer, new_key
from tests.integration.service.service_process import ServiceProcess, service

Send = Callable[..., Iterable[bytes]]
PUBLIC = "The call carries no valid token. Send `authorization: Bearer <token>`."


def part(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def unsigned(idp: Issuer) -> str:
    return f"{part({'alg': 'none', 'kid': 'k1'})}.{idp.token().split('.')[1]}."


def signed_with_the_public_key(idp: Issuer) -> str:
    """A token signed by HMAC with the public key as the secret (RFC 8725, 2.1)."""
    signed = f"{part({'alg': 'HS256', 'kid': 'k1'})}.{idp.token().split('.')[1]}"
    secret = idp.published["k1"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    digest = hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def of_another_issuer(idp: Issuer) -> str:
    """A token that would be valid at another issuer."""
    with issuer() as another:
        return Issuer(another.url, {"stranger": another.published["k1"]}).token(kid="stranger")


REFUSED: dict[str, tuple[Callable[[Issuer], str | None], str]] = {
    "none": (lambda idp: None, "missing"),
    "malformed": (lambda idp: "rubbish", "malformed"),
    "long": (lambda idp: "x" * 17_000, "malformed"),
    "expired": (lambda idp: idp.token(life_s=-60), "expired"),
    "not yet valid": (lambda idp: idp.token(nbf=time.time() + 60), "not_yet_valid"),
    "another audience": (lambda idp: idp.token(aud="another"), "wrong_audience"),
    "another issuer in it": (lambda idp: idp.token(iss="https://another.example"), "wrong_issuer"),
    "of another issuer": (of_another_issuer, "unknown_key"),
    "alg none": (unsigned, "wrong_algorithm"),
    "HS256 with the public key": (signed_with_the_public_key, "wrong_algorithm"),
    "another's signature": (lambda idp: idp.token(key=new_key()), "wrong_signature"),
    "no tenant": (lambda idp: idp.token(None), "tenant_missing"),
}


def failures(brain: ServiceProcess, cause: str) -> float:
    name = f'somabrain_auth_failures_total{{cause="{cause}"}}'
    return sum(float(line.split()[-1]) for line in brain.get("/metrics")[1].splitlines() if line.startswith(name))


@pytest.mark.parametrize("kind", REFUSED)
async def test_invalid_token_is_unauthenticated_without_detail(
    connect: Connect, brain: ServiceProcess, idp: Issuer, kind: str
) -> None:
    """Every invalid token gets the same message, the first time and from the cache; only the metric has the cause."""
    make, cause = REFUSED[kind]
    before = failures(brain, cause)
    async with connect(token=make(idp)) as client:
        for _ in range(2):
            with pytest.raises(UnauthenticatedError) as caught:
                await client.recall("notes", "anything")
            assert caught.value.message == PUBLIC
            assert caught.value.reason == "UNAUTHENTICATED"
            assert dict(caught.value.details.metadata) == {}
    assert failures(brain, cause) == before + 2


async def test_two_authorization_headers_are_refused(brain: ServiceProcess, idp: Issuer) -> None:
    metadata = tuple(("authorization", f"Bearer {idp.token(tenant)}") for tenant in ("a", "b"))
    async with grpc.aio.insecure_channel(brain.address) as channel:
        stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Recall(memory_service_pb2.RecallRequest(), metadata=metadata)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_megabyte_of_metadata_is_refused_by_grpc(brain: ServiceProcess, idp: Issuer) -> None:
    """The call reaches no handler, and the server's memory does not grow however often it is sent."""
    status = Path(f"/proc/{brain.process.pid}/status")

    def resident_kib() -> int:
        return int(status.read_text().partition("VmRSS:")[2].split()[0])

    metadata = (("authorization", f"Bearer {idp.token()}"), ("x-much", "m" * 1_000_000))
    sizes = []
    async with grpc.aio.insecure_channel(brain.address) as channel:
        stub = memory_service_pb2_grpc.MemoryServiceStub(channel)
        for _ in range(100):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Recall(memory_service_pb2.RecallRequest(), metadata=metadata, timeout=10)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            sizes.append(resident_kib())
    assert max(sizes[10:]) - sizes[10] < 8 * 1024, sizes[::10]


async def test_metadata_limit_is_deterministic(brain: ServiceProcess, idp: Issuer) -> None:
    """A call with over 14 kB of metadata always succeeds; gRPC's default refuses at random between 8 and 16 KiB."""
    token = idp.token("large", groups=["g" * 100] * 110)
    assert 14_000 < len(token) < 16_384
    async with MemoryClient(brain.address, token=token, retry=RetryPolicy(max_attempts=1)) as client:
        for _ in range(20):
            assert [namespace async for namespace in client.list_namespaces()] == []


async def test_missing_scope_is_denied_by_name(folder: Path, settings: dict[str, object], idp: Issuer) -> None:
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


@pytest.fixture(scope="module")
def scoped(folder: Path, settings: dict[str, object]) -> Iterator[ServiceProcess]:
    """A service that reads scopes."""
    with service(folder, {**settings, "auth__scope_claim": "/scope"}) as running:
        running.wait_until_ready()
        yield running


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_namespace_restricted_caller_is_denied_elsewhere_in_every_method(
    scoped: ServiceProcess, idp: Issuer, method: MethodDescriptor
) -> None:
    """Every method on another namespace is denied, and so is the list of all namespaces."""
    scopes = "memory.read memory.write memory.admin namespace:mine-*"
    metadata = (("authorization", f"Bearer {idp.token('a', scope=scopes)}"),)
    with grpc.insecure_channel(scoped.address) as channel:
        make = channel.unary_stream if method.server_streaming else channel.unary_unary
        send = cast("Send", make(path(method), lambda message: message.SerializeToString(), bytes))

        def code(namespace: str) -> grpc.StatusCode:
            try:
                answer = send(sample_request(method, namespace), timeout=2, metadata=metadata)
                if method.server_streaming:
                    next(iter(answer))
            except grpc.RpcError as exc:
                return cast("grpc.Call", exc).code()
            return grpc.StatusCode.OK

        assert code("theirs") is grpc.StatusCode.PERMISSION_DENIED
        if method.name != "ListNamespaces":
            assert code("mine-1") is not grpc.StatusCode.PERMISSION_DENIED


async def test_stopped_policy_engine_denies_after_cache_ttl(
    folder: Path, settings: dict[str, object], idp: Issuer
) -> None:
    """A cached decision is valid for its five seconds; a call without one is denied at once."""
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
