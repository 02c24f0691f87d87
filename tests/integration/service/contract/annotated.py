"""Requests at and beyond each bound that the published descriptor annotates, generated from the annotations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

PUBLISHED = Path(__file__).parents[4] / "proto" / "somabrain.binpb"
VALID_ITEMS = {"conditions": {"label": "a", "operator": "LABEL_OPERATOR_IN", "values": ["x"]}}
"""A valid message of each list of messages whose fields have rules."""
RECURSIVE = frozenset({"any_of", "none_of"})
"""Fields of a filter that are filters."""


def published() -> descriptor_pool.DescriptorPool:
    """Return a pool of the published descriptor alone, with every annotation."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(PUBLISHED.read_bytes()).file:
        pool.Add(file)
    return pool


@dataclass(frozen=True)
class Rules:
    """The rules of the published descriptor."""

    pool: descriptor_pool.DescriptorPool

    def of_field(self, field: FieldDescriptor) -> Any:
        """Return the buf.validate.FieldRules of a field."""
        return self._extension("FieldOptions", field, "buf.validate.field")

    def of_message(self, message: Descriptor) -> Any:
        """Return the buf.validate.MessageRules of a message."""
        return self._extension("MessageOptions", message, "buf.validate.message")

    def _extension(self, options: str, of: FieldDescriptor | Descriptor, extension: str) -> Any:
        options_class = message_factory.GetMessageClass(self.pool.FindMessageTypeByName(f"google.protobuf.{options}"))
        parsed: Any = options_class.FromString(of.GetOptions().SerializeToString())
        return parsed.Extensions[self.pool.FindExtensionByName(extension)]

    def message(self, name: str) -> type[Message]:
        """Return the class of a message of the contract."""
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(f"somabrain.memory.v1.{name}"))


Change = Callable[[Any], None]
"""Sets a field of the request's message that has it."""


@dataclass(frozen=True)
class Case:
    """A change of a valid request. `beyond`: the rule then refuses it, and `at` its bound it does not."""

    path: tuple[str, ...]
    rule: str
    change: Change
    beyond: bool

    def apply(self, request: Message) -> Message:
        """Return the request, changed in place."""
        target: Any = request
        for name in self.path[:-1]:
            target = getattr(target, name)
            if hasattr(target, "add"):
                target = target[0] if target else target.add(**VALID_ITEMS[name])
            elif isinstance(target, Message):
                target.SetInParent()
        self.change(target)
        return request


def cases(rules: Rules, message: Descriptor, path: tuple[str, ...] = ()) -> Iterator[Case]:
    """Yield the cases of every rule of a message's fields, and of the messages in them."""
    for field in message.fields:
        own = (*path, field.name)
        for rule, value, beyond in _values(rules.of_field(field)):
            yield Case(own, rule, _setter(field, value), beyond)
        inner = field.message_type
        of_contract = (
            inner is not None and inner.full_name.startswith("somabrain.") and not inner.GetOptions().map_entry
        )
        if inner is not None and of_contract and field.name not in {*RECURSIVE, "requests"}:
            yield from cases(rules, inner, own)


def _setter(field: FieldDescriptor, value: Any) -> Change:
    name = field.name

    def change(target: Any) -> None:
        if value is CLEAR:
            target.ClearField(name)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            target.ClearField(name)
            getattr(target, name).update(value)
        elif field.is_repeated:
            del getattr(target, name)[:]
            for each in value:
                if each is CLEAR:
                    getattr(target, name).add()
                else:
                    getattr(target, name).append(each)
        elif field.message_type is not None:
            getattr(target, name).CopyFrom(type(getattr(target, name))(**value))
        else:
            setattr(target, name, value)

    return change


CLEAR = object()
"""An unset field, or an empty message in a list."""


def _values(rules: Any) -> Iterator[tuple[str, Any, bool]]:
    """Yield values by rule: its name, the value, and whether it is beyond the bound."""
    if rules.required:
        yield "required", CLEAR, True
    kind = rules.WhichOneof("type")
    if kind == "repeated":
        yield from _lists(rules.repeated)
    elif kind == "map":
        for rule, key, beyond in _scalars(rules.map.keys):
            yield f"map.keys.{rule}", {key: "v"}, beyond
        for rule, each, beyond in _scalars(rules.map.values):
            yield f"map.values.{rule}", {"k": each}, beyond
        most = rules.map.max_pairs
        for count in (most, most + 1):
            yield "map.max_pairs", {f"k{number}": "v" for number in range(count)}, count > most
    elif kind is not None:
        yield from _scalars(rules)


def _lists(rules: Any) -> Iterator[tuple[str, Any, bool]]:
    good: Any = CLEAR
    if rules.HasField("items"):
        found = list(_scalars(rules.items))
        good = next((value for _, value, beyond in found if not beyond), None) or _sample(rules.items)
        for rule, each, beyond in found:
            yield f"repeated.items.{rule}", [each], beyond
    if rules.min_items:
        yield "repeated.min_items", [], True
    if rules.max_items and good is not CLEAR:
        for count in (rules.max_items, rules.max_items + 1):
            yield "repeated.max_items", [good] * count, count > rules.max_items


def _sample(rules: Any) -> Any:
    return {"float": 1.0, "enum": 1}[rules.WhichOneof("type")]


def _scalars(rules: Any) -> Iterator[tuple[str, Any, bool]]:
    kind = rules.WhichOneof("type")
    own = getattr(rules, kind)
    match kind:
        case "string":
            for value in own.__getattribute__("in"):
                yield "string.in", value, False
            if own.__getattribute__("in"):
                yield "string.in", "no-such-value", True
            if own.HasField("max_bytes"):
                yield "string.max_bytes", "é" * (own.max_bytes // 2) + "x" * (own.max_bytes % 2), False
                yield "string.max_bytes", "é" * (own.max_bytes // 2) + "x" * (own.max_bytes % 2 + 1), True
            if own.HasField("min_bytes"):
                yield "string.min_bytes", "", True
            if own.HasField("not_contains"):
                yield "string.not_contains", f"a{own.not_contains}b", True
            if own.HasField("pattern"):
                for value in ("namespaces/A", "namespaces/-", "a/b", "n\0", "n\n"):
                    yield "string.pattern", value, True
        case "int32" | "int64":
            for value, beyond in ((own.gte, False), (own.lte, False), (own.gte - 1, True), (own.lte + 1, True)):
                yield f"{kind}.gte_lte", value, beyond
        case "double":
            over = math.nextafter(own.lte, math.inf)
            for value, beyond in ((own.gte, False), (own.lte, False), (-5e-324, True), (over, True), (math.nan, True)):
                yield "double.gte_lte", value, beyond
        case "float":
            for value in (math.nan, math.inf, -math.inf):
                yield "float.finite", value, True
        case "enum":
            yield "enum.defined_only", 99, True
            for value in own.not_in:
                yield "enum.not_in", value, True
        case "duration":
            yield "duration.gt", {"seconds": 0}, True
            yield "duration.gt", {"seconds": -1}, True
            yield "duration.gt", {"seconds": 3600}, False
        case _:
            raise NotImplementedError(f"rules of type {kind} have no cases: add them here")
