"""The generated stubs import with few packages, and beside protovalidate."""

import subprocess
import sys

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from somabrain.memory.v1 import memory_pb2, memory_service_pb2, namespace_service_pb2

WITHOUT_OTHER_PACKAGES = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {"google", "grpc", "somabrain", "typing_extensions", *sys.stdlib_module_names}:
            raise ModuleNotFoundError(f"{name} is not installed", name=name)
sys.meta_path.insert(0, Blocked())
from somabrain.memory.v1 import memory_service_pb2, memory_service_pb2_grpc, namespace_service_pb2_grpc
print(memory_service_pb2.RememberRequest(parent="namespaces/a").parent)
"""
BESIDE_PROTOVALIDATE = """
{imports}
request = memory_service_pb2.RememberRequest(parent="namespaces/a")
print(len(protovalidate.collect_violations(request)))
"""


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def test_stubs_import_with_only_their_runtime_packages() -> None:
    """The stubs import with grpcio, protobuf and googleapis-common-protos alone, which provide `google`."""
    assert run(WITHOUT_OTHER_PACKAGES) == "namespaces/a"


def test_stubs_and_protovalidate_import_in_either_order() -> None:
    """Neither registers a file of the other; the stubs have no rules, so nothing is violated."""
    imports = ["import protovalidate", "from somabrain.memory.v1 import memory_service_pb2"]
    for order in (imports, imports[::-1]):
        assert run(BESIDE_PROTOVALIDATE.format(imports="\n".join(order))) == "0"


def test_stubs_omit_validation_rules_and_retain_annotations() -> None:
    """No file imports buf/validate, no option is unknown, and output-only fields are marked."""
    for module in (memory_pb2, memory_service_pb2, namespace_service_pb2):
        file = FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
        assert not [name for name in file.dependency if name.startswith("buf/")]
        without_unknown = FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
        without_unknown.DiscardUnknownFields()
        assert without_unknown == file
    assert b"google/api/field_behavior.proto" in memory_pb2.DESCRIPTOR.serialized_pb
