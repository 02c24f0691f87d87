"""The namespace that a call is authorized for."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from somabrain.memory.v1 import memory_service_pb2 as memory
from somabrain.memory.v1 import namespace_service_pb2 as namespace
from somabrain.memory.v1.memory_pb2 import Memory
from somabrain_service.interceptors.authorization import namespace_of
from tests.contract import METHODS, sample_request

REQUESTS: list[tuple[Message, str]] = [
    (memory.RememberRequest(parent="namespaces/notes"), "notes"),
    (memory.GetMemoryRequest(name="namespaces/notes/memories/m"), "notes"),
    (memory.ListRevisionsRequest(parent="namespaces/notes/memories/m"), "notes"),
    (memory.UpdateMemoryRequest(memory=Memory(name="namespaces/notes/memories/m")), "notes"),
    (namespace.CreateNamespaceRequest(namespace_id="notes"), "notes"),
    (namespace.UpdateNamespaceRequest(namespace=namespace.Namespace(name="namespaces/notes")), "notes"),
    (namespace.DeleteNamespaceRequest(name="namespaces/notes"), "notes"),
    (namespace.ListNamespacesRequest(), ""),
    (memory.RememberRequest(parent="namespaces/"), ""),
    (memory.RememberRequest(parent="namespaces/NOTES"), ""),
    (memory.RememberRequest(parent="namespaces/" + "n" * 64), ""),
    (memory.RememberRequest(parent="somewhere/notes"), ""),
]


@pytest.mark.parametrize(("request_", "expected"), REQUESTS)
def test_namespace_of_request(request_: Message, expected: str) -> None:
    assert namespace_of(request_) == expected


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_except_list_namespaces_has_a_namespace(method: MethodDescriptor) -> None:
    """Each method but ListNamespaces has a namespace, so that a policy by namespace applies to it."""
    assert namespace_of(sample_request(method, "notes")) == ("" if method.name == "ListNamespaces" else "notes")


def test_newline_does_not_end_resource_name() -> None:
    assert namespace_of(memory.GetMemoryRequest(name="namespaces/notes/memories/a\nb")) == "notes"
    assert namespace_of(memory.RememberRequest(parent="namespaces/notes\n")) == ""
