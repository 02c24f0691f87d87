"""Output-only fields are rejected, and policy and rate limits follow the contract's annotations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from common.errors import InvalidArgument
from somabrain.memory.v1 import memory_service_pb2, namespace_service_pb2
from somabrain.memory.v1.memory_pb2 import Memory
from somabrain_service.interceptors import contract
from somabrain_service.interceptors.rate_limit import count_writes
from somabrain_service.interceptors.validation import check_fields
from somabrain_service.servicers.memory_service import MemoryServicer
from somabrain_service.servicers.namespace_service import NamespaceServicer

FILES = (memory_service_pb2.DESCRIPTOR, namespace_service_pb2.DESCRIPTOR)
SERVICERS = {"MemoryService": MemoryServicer, "NamespaceService": NamespaceServicer}
METHODS = [
    (f"/{service.full_name}/{method.name}", SERVICERS[name], method)
    for file in FILES
    for name, service in file.services_by_name.items()
    for method in service.methods
]


@pytest.mark.parametrize(("path", "servicer", "method"), METHODS)
def test_every_method_is_implemented(path: str, servicer: type, method: object) -> None:
    """Each method is implemented, and not the generated UNIMPLEMENTED."""
    assert method.name in vars(servicer)  # type: ignore[attr-defined]


def test_fields_unset_on_creation_follow_annotations() -> None:
    """The requests that create a resource, and its fields that only the server sets, are those of the first version."""
    server_set = {name: (resource, set(fields)) for name, (resource, fields) in contract.UNSET_ON_CREATION.items()}
    assert server_set == {
        "somabrain.memory.v1.RememberRequest": ("memory", {"name", "create_time", "update_time", "revision", "etag"}),
        "somabrain.memory.v1.CreateNamespaceRequest": (
            "namespace",
            {"name", "statistics", "create_time", "update_time", "version", "epoch", "etag"},
        ),
    }


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("memory.name", memory_service_pb2.RememberRequest(memory=Memory(name="namespaces/a/memories/b"))),
        ("memory.revision", memory_service_pb2.RememberRequest(memory=Memory(revision=1))),
        ("memory.etag", memory_service_pb2.RememberRequest(memory=Memory(etag="x"))),
        ("memory.create_time", memory_service_pb2.RememberRequest(memory=Memory(create_time=Timestamp(seconds=1)))),
        (
            "namespace.version",
            namespace_service_pb2.CreateNamespaceRequest(namespace=namespace_service_pb2.Namespace(version=1)),
        ),
    ],
)
def test_output_only_field_is_rejected_by_name(field: str, request_: Message) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_fields(request_)
    assert caught.value.field == field


def test_valid_request_is_accepted() -> None:
    memory = Memory(text="x", session="s", labels={"a": "b"}, salience=0.0)
    check_fields(memory_service_pb2.RememberRequest(parent="namespaces/a", memory=memory, request_id="r"))


def test_write_methods_match_default_policy() -> None:
    """The service's write methods are those of the default policy, which lists every method of the contract."""
    policy = Path("common/policy/sb.rego").read_text()
    scopes = {
        scope: set(re.findall(r'"(/somabrain[^"]+)"', methods))
        for scope, methods in re.findall(r'"(memory\.\w+)": \{([^}]*)\}', policy)
    }
    assert scopes["memory.write"] | scopes["memory.admin"] == contract.WRITE_METHODS
    assert set().union(*scopes.values()) == {path for path, _, _ in METHODS}


def test_each_batch_item_is_a_write() -> None:
    batch = memory_service_pb2.BatchForgetRequest(requests=[memory_service_pb2.ForgetMemoryRequest()] * 3)
    service = "/somabrain.memory.v1.MemoryService"
    assert count_writes(f"{service}/BatchForget", batch) == 3
    assert count_writes(f"{service}/Remember", memory_service_pb2.RememberRequest()) == 1
    assert count_writes(f"{service}/Recall", memory_service_pb2.RecallRequest()) == 0


@pytest.mark.parametrize("method", ["GetMemory", "ListMemories", "Recall"])
def test_read_with_refresh_ttl_requires_touch_permission(method: str) -> None:
    """It counts as a write, and is authorized as TouchMemory too; without refresh_ttl it only reads."""
    service = "/somabrain.memory.v1.MemoryService"
    request = getattr(memory_service_pb2, f"{method}Request")
    reading, renewing = request(), request(refresh_ttl=Duration(seconds=1))
    assert contract.methods_of(f"{service}/{method}", reading) == (f"{service}/{method}",)
    assert contract.methods_of(f"{service}/{method}", renewing) == (f"{service}/{method}", f"{service}/TouchMemory")
    assert [count_writes(f"{service}/{method}", each) for each in (reading, renewing)] == [0, 1]
