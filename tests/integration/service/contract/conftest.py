"""Both services by their stubs, as one tenant: the view of a client in any language."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc.aio
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status

from somabrain.memory.v1 import memory_service_pb2_grpc as memories
from somabrain.memory.v1 import namespace_service_pb2 as ns
from somabrain.memory.v1 import namespace_service_pb2_grpc as namespaces
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess


@dataclass(frozen=True)
class Refused:
    """Error of a refused call."""

    code: grpc.StatusCode
    message: str
    info: details.ErrorInfo
    fields: tuple[str, ...]
    resource: str


@dataclass(frozen=True)
class Caller:
    """A tenant's calls. `parent` is an empty namespace for it alone."""

    channel: grpc.aio.Channel
    token: str
    parent: str = ""

    async def call(self, method: str, request: Message) -> Message:
        """Return the answer of a call, of a stream the first."""
        for stub in (memories.MemoryServiceStub(self.channel), namespaces.NamespaceServiceStub(self.channel)):
            if rpc := getattr(stub, method, None):
                call: Any = rpc(request, metadata=(("authorization", f"Bearer {self.token}"),))
                streams = isinstance(call, grpc.aio.UnaryStreamCall)
                answer: Message = await call.read() if streams else await call
                call.cancel()
                return answer
        raise AssertionError(f"no method {method}")

    async def refused(self, method: str, request: Message) -> Refused:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(method, request)
        metadata = dict(caught.value.trailing_metadata() or ())
        status = Status.FromString(metadata["grpc-status-details-bin"])
        info, bad, resource = details.ErrorInfo(), details.BadRequest(), details.ResourceInfo()
        for detail in status.details:
            for message in (info, bad, resource):
                detail.Unpack(message)
        return Refused(
            caught.value.code(),
            caught.value.details() or "",
            info,
            tuple(violation.field for violation in bad.field_violations),
            resource.resource_name,
        )


@pytest.fixture
async def caller(brain: ServiceProcess, idp: Issuer) -> AsyncIterator[Caller]:
    async with grpc.aio.insecure_channel(brain.address) as channel:
        new_tenant = Caller(channel, idp.token(f"t-{uuid.uuid4().hex[:12]}"))
        answer = await new_tenant.call("CreateNamespace", ns.CreateNamespaceRequest(namespace_id="n"))
        assert isinstance(answer, ns.CreateNamespaceResponse)
        yield Caller(channel, new_tenant.token, answer.namespace.name)
