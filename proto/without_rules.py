"""Remove the validation rules (buf.validate) from a descriptor set.

    python proto/without_rules.py WHOLE STUBS

The Python stubs are generated from what is left, so that they import with grpcio, protobuf and googleapis-common-protos
alone, and beside any version of a package that brings buf/validate (docs/decisions/0022).
"""

from __future__ import annotations

import sys
from pathlib import Path

from google.api import field_behavior_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

RULES = "buf/validate/validate.proto"


def without_rules(whole: bytes) -> bytes:
    """Return a serialized FileDescriptorSet without the rules and without the file that defines them.

    The options of buf.validate are unknown to this process, which knows those of google.api alone, so that what is
    unknown is what is to be removed.
    """
    known = field_behavior_pb2.DESCRIPTOR.name
    files = FileDescriptorSet.FromString(whole)
    if known not in {file.name for file in files.file}:
        raise ValueError(f"the contract does not import {known}")
    kept = FileDescriptorSet(file=[file for file in files.file if file.name != RULES])
    for file in kept.file:
        if RULES in file.dependency:
            file.dependency.remove(RULES)
            file.DiscardUnknownFields()
    return kept.SerializeToString(deterministic=True)


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_bytes(without_rules(source.read_bytes()))
