"""Requests generated from the contract's descriptors: every field, values at and past their bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import Message
from hypothesis import strategies as st

from somabrain_service.domain import limits

NAMESPACE = "namespaces/hostile"
DEEPEST = 3
LIKELY = {"parent", "name", "memory", "text", "query", "namespace_id"}
WORDS = [
    "",
    " ",
    "a",
    "tea",
    "the of and",
    "?!",
    "\0",
    "\r\n",
    "'; DROP TABLE memories; --",
    "%s%n{}$1:ns",
    "\ufeff\u202e",
    "👩‍👩‍👧‍👦",
    "e\u0301" * 90,
    "東京",
    "\U0010ffff",
    NAMESPACE,
    "namespaces/none",
    "NULL",
    "{}",
    "[1]",
    "x" * 63,
    "x" * 64,
    "x" * 256,
    "x" * 257,
    "x" * limits.MAX_TEXT_BYTES,
    "x" * (limits.MAX_TEXT_BYTES + 1),
    "é" * 32768,
    " ".join(f"w{i}" for i in range(9000)),
]
BOUNDS = [0, 1, -1, 2, 10, 63, 64, 65, 200, 201, 1000, 1001, -(2**31), 2**31 - 1]
LARGE = [2**62, 2**63 - 1, -(2**63), -62135596800, 253402300799, 253402300800]
INT32 = st.sampled_from(BOUNDS) | st.integers(-(2**31), 2**31 - 1)
INT64 = st.sampled_from([*BOUNDS, *LARGE]) | st.integers(-(2**63), 2**63 - 1)
FLOATS = st.sampled_from([0.0, -0.0, 1.0, 0.5, 1e-45, 3.4e38, float("nan"), float("inf"), -float("inf")])
VECTORS = st.builds(lambda value, size: [value] * size, FLOATS, st.sampled_from([1, 383, *[384] * 6, 4096, 4097]))
TEXTS = st.sampled_from(WORDS) | st.text(max_size=40)
USUAL = {
    "parent": st.sampled_from([NAMESPACE] * 9 + ["namespaces/none"]) | TEXTS,
    "namespace_id": st.from_regex(r"[a-z0-9-]{1,5}", fullmatch=True) | TEXTS,
    "language": st.sampled_from(["", "en", "de", "zh", "mul"]) | TEXTS,
    "encoder": st.sampled_from(["", "lexical", "minilm-l6-v2-int8"]) | TEXTS,
    "order_by": st.sampled_from(["create_time", "event_time desc", "session_position", "text"]) | TEXTS,
    "session": st.sampled_from(["monday", "tuesday"]) | TEXTS,
    "request_id": st.sampled_from(["", "one", "two"]) | TEXTS,
}

RealValues = Mapping[str, Sequence[str]]


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor, real_values: RealValues, depth: int = 0) -> Message:
    """A message of a type. `real_values`: valid names and tokens by field, so that requests get past validation."""
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if draw(st.integers(0, 9)) >= (9 if field.name in LIKELY else 4):
            continue
        if field.message_type is None:
            one = _scalar(field, real_values)
            if not field.is_repeated:
                setattr(message, field.name, draw(one))
            elif descriptor.name == "Vector":
                getattr(message, field.name).extend(draw(VECTORS))
            else:
                getattr(message, field.name).extend(draw(st.lists(one, max_size=3) | one.map(_many)))
        elif field.message_type.GetOptions().map_entry:
            keys = [draw(TEXTS), *(str(i) for i in range(draw(st.sampled_from([0, 1, 63, 64]))))]
            getattr(message, field.name).update(dict.fromkeys(keys, draw(TEXTS)))
        elif depth < DEEPEST:
            inner = messages(field.message_type, real_values, depth + 1)
            if field.is_repeated:
                getattr(message, field.name).extend(draw(st.lists(inner, max_size=2)))
            else:
                getattr(message, field.name).CopyFrom(draw(inner))
    return message


def _many(item: object) -> list[object]:
    return [item] * (limits.MAX_FILTER_VALUES + 1)


def _one_of(values: Sequence[str]) -> st.SearchStrategy[str]:
    """One of the values at the time of the draw: the list grows, but hypothesis needs a fixed set of choices."""
    return st.integers(0, 9999).map(lambda number: values[number % len(values)])


def _scalar(field: Field, real_values: RealValues) -> st.SearchStrategy[Any]:
    if field.type == Field.TYPE_STRING:
        usual = USUAL.get(field.name, TEXTS)
        return _one_of(real_values[field.name]) | usual if field.name in real_values else usual
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values]) | INT32
    if field.type == Field.TYPE_BOOL:
        return st.booleans()
    if field.type in {Field.TYPE_DOUBLE, Field.TYPE_FLOAT}:
        return FLOATS | st.floats(width=32)
    return INT32 if field.type == Field.TYPE_INT32 else INT64
