"""The gRPC server: its services, its health service and its channel arguments."""

from __future__ import annotations

import math

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from common.config.settings import GrpcSettings
from common.errors import ConfigurationError
from somabrain.memory.v1 import (
    memory_service_pb2,
    memory_service_pb2_grpc,
    namespace_service_pb2,
    namespace_service_pb2_grpc,
)
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.interceptors.chain import InterceptorChain
from somabrain_service.interceptors.errors import to_item_status
from somabrain_service.interceptors.validation import check_fields
from somabrain_service.servicers.memory_service import MemoryServicer
from somabrain_service.servicers.namespace_service import NamespaceServicer

MEMORY = memory_service_pb2.DESCRIPTOR.services_by_name["MemoryService"].full_name
NAMESPACE = namespace_service_pb2.DESCRIPTOR.services_by_name["NamespaceService"].full_name
SERVICE_NAMES = (MEMORY, NAMESPACE)

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
MAX_METADATA_BYTES = 32 * 1024  # the longest bearer token, and as much again for everything else
KEEPALIVE_TIME_MS = 30_000
MIN_PING_INTERVAL_MS = 10_000


def channel_arguments(settings: GrpcSettings) -> list[tuple[str, int]]:
    """Return the channel arguments of the server."""
    return [
        # A client of a headless Service discovers new pods when it has to reconnect.
        ("grpc.max_connection_age_ms", int(settings.max_connection_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", math.ceil(settings.drain_s * 1000)),
        # A peer that vanished without closing is detected, and one that pings more often than this gets GOAWAY.
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        # Both limits are equal, because gRPC refuses at random what lies between its soft and its hard limit.
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        # Two servers on one port would share calls at random: the second must fail to start.
        ("grpc.so_reuseport", 0),
    ]


class HealthService:
    """Health service grpc.health.v1 of the whole server ("") and of each service, following readiness."""

    def __init__(self) -> None:
        self.servicer = health.aio.HealthServicer()

    async def set_serving_status(self, ready: bool) -> None:
        """Set SERVING or NOT_SERVING for all services; watchers are notified."""
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *SERVICE_NAMES):
            await self.servicer.set(name, status)


def make_server(
    settings: GrpcSettings, app_context: AppContext, chain: InterceptorChain, health_service: HealthService
) -> grpc.aio.Server:
    """Return the server with all services registered, not bound yet."""
    server = grpc.aio.server(interceptors=[chain], options=channel_arguments(settings))
    memory_servicer = MemoryServicer(app_context, check_fields, to_item_status)
    memory_service_pb2_grpc.add_MemoryServiceServicer_to_server(memory_servicer, server)
    namespace_service_pb2_grpc.add_NamespaceServiceServicer_to_server(NamespaceServicer(app_context), server)
    health_pb2_grpc.add_HealthServicer_to_server(health_service.servicer, server)
    if settings.reflection:
        _enable_reflection(server)
    return server


def _enable_reflection(server: grpc.aio.Server) -> None:
    names = (*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME, "grpc.reflection.v1.ServerReflection")
    servicer = reflection.aio.ReflectionServicer(names)
    # v1 has the messages of v1alpha under another name; newer clients try it first.
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in names[-2:]:
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler}),)
        )


def bind(server: grpc.aio.Server, settings: GrpcSettings, credentials: grpc.ServerCredentials | None) -> int:
    """Bind the address, in plain text without `credentials`, and return its port.

    Raises:
        ConfigurationError: the address cannot be bound.
    """
    address = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as exc:
        raise ConfigurationError(f"grpc.port: {address} cannot be bound; free it or choose another.") from exc
