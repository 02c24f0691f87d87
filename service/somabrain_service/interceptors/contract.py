"""Rules that the contract's annotations give: which methods write, and which fields a creation leaves unset.

They are read from the descriptors of the generated stubs, so a new method or field needs no entry here.
"""

from __future__ import annotations

from collections.abc import Mapping

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message

from somabrain.memory.v1 import memory_service_pb2, namespace_service_pb2

_FILES = (memory_service_pb2.DESCRIPTOR, namespace_service_pb2.DESCRIPTOR)
_RENEWAL = "refresh_ttl"
"""Field of reads that renew what they return; without it they change nothing."""

METHODS: Mapping[str, MethodDescriptor] = {
    f"/{service.full_name}/{method.name}": method
    for file in _FILES
    for service in file.services_by_name.values()
    for method in service.methods
}
"""Methods of the contract, by the path of their calls."""

TOUCH = "/somabrain.memory.v1.MemoryService/TouchMemory"


def _reads(method: MethodDescriptor) -> bool:
    level = method.GetOptions().idempotency_level
    return level == MethodOptions.NO_SIDE_EFFECTS or _RENEWAL in method.input_type.fields_by_name


def _behaviors(field: FieldDescriptor) -> set[int]:
    return set(field.GetOptions().Extensions[field_behavior_pb2.field_behavior])


def _unset_on_creation(request: Descriptor) -> tuple[str, frozenset[str]] | None:
    """Return the field of the resource that a request creates, and the resource's fields that the server sets.

    A resource is a message with an IDENTIFIER. A request that has one and no mask creates it (AIP-133, AIP-134). The
    etag, which an update may send, has nothing to be compared with (AIP-154).
    """
    if "update_mask" in request.fields_by_name:
        return None
    for field in request.fields:
        resource = field.message_type
        if resource is not None and not field.is_repeated:
            behaviors = {each.name: _behaviors(each) for each in resource.fields}
            server_set = {field_behavior_pb2.OUTPUT_ONLY, field_behavior_pb2.IDENTIFIER}
            if any(field_behavior_pb2.IDENTIFIER in each for each in behaviors.values()):
                names = {name for name, each in behaviors.items() if each & server_set or name == "etag"}
                return field.name, frozenset(names)
    return None


WRITE_METHODS = frozenset(path for path, method in METHODS.items() if not _reads(method))
"""Methods that write; all others read, and write only as `methods_of` describes."""

UNSET_ON_CREATION: Mapping[str, tuple[str, frozenset[str]]] = {
    method.input_type.full_name: found
    for method in METHODS.values()
    if (found := _unset_on_creation(method.input_type)) is not None
}
"""Per request that creates a resource: the resource's field, and the resource's fields that the server sets."""


def methods_of(method: str, request: Message) -> tuple[str, ...]:
    """Return the methods that a call needs permission for: a read that renews what it returns is also a TouchMemory."""
    refreshes = _RENEWAL in request.DESCRIPTOR.fields_by_name and request.HasField(_RENEWAL)
    return (method, TOUCH) if refreshes else (method,)
