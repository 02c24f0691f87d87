"""The gRPC contract for tests: every method, and sample requests with all names filled in."""

from __future__ import annotations

from typing import cast

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message

from somabrain.memory.v1 import memory_service_pb2, namespace_service_pb2

METHODS: tuple[MethodDescriptor, ...] = tuple(
    method
    for module, name in ((memory_service_pb2, "MemoryService"), (namespace_service_pb2, "NamespaceService"))
    for method in module.DESCRIPTOR.services_by_name[name].methods
)


def path(method: MethodDescriptor) -> str:
    """Return the method's path, `/package.Service/Method`."""
    return f"/{cast('Descriptor', method.containing_service).full_name}/{method.name}"


def sample_request(method: MethodDescriptor, namespace: str) -> Message:
    """Return a request of `method` with every resource name filled in, also in nested messages."""
    request = message_factory.GetMessageClass(method.input_type)()
    _name(request, namespace)
    return request


def _name(message: Message, namespace: str) -> None:
    for field in message.DESCRIPTOR.fields:
        if field.name == "namespace_id":
            setattr(message, field.name, namespace)
        elif field.name in {"parent", "name"}:
            setattr(message, field.name, f"namespaces/{namespace}")
        elif field.name in {"memory", "namespace"} and field.message_type:
            _name(getattr(message, field.name), namespace)
