"""Render the reference page of the resource from its CustomResourceDefinition."""

from __future__ import annotations

import json
from collections.abc import Iterator

from somabrain_operator.kube.objects import Json, Manifest, at, items, mapping, text

_INTRODUCTION = """\
# Reference: SomaBrain (somabrain.io/v1alpha1)

Rendered from `operator/somabrain_operator/api/v1alpha1` by `python -m somabrain_operator.api.crd`; do not edit.
Short name `sb`, category `all`; `kubectl explain sb.spec` shows the same.
"""


def render_crd_docs(crd: Manifest) -> str:
    """Return the page in Markdown: one row per field, then the rules."""
    schema = mapping(items(crd, "spec", "versions")[0], "schema", "openAPIV3Schema")
    parts = [_INTRODUCTION]
    for name in ("spec", "status"):
        rows = "".join(
            _row(path, node, required) for path, node, required in _walk(mapping(schema, "properties", name), name)
        )
        parts.append(
            f"\n## {name}\n\n| field | type | default | bounds | meaning |\n| --- | --- | --- | --- | --- |\n{rows}"
        )
    messages = "".join(f"- {message}.\n" for message in dict.fromkeys(_messages(schema)))
    parts.append(f"\n## Rules\n\nThe API server rejects a resource with one of these messages.\n\n{messages}")
    return "".join(parts)


def _walk(node: Json, path: str) -> Iterator[tuple[str, Json, bool]]:
    required = set(items(node, "required"))
    for name, child in mapping(node, "properties").items():
        field_path = f"{path}.{name}"
        yield field_path, child, name in required
        yield from _walk(child, field_path)
        yield from _walk(at(child, "items"), f"{field_path}[]")


def _row(path: str, node: Json, required: bool) -> str:
    kind = "quantity" if at(node, "x-kubernetes-int-or-string") else text(node, "type")
    default = at(node, "default")
    default_cell = "required" if required else "" if default is None else f"`{json.dumps(default)}`"
    description = " ".join(text(node, "description").split()).replace("|", "\\|")
    return f"| `{path}` | {kind} | {default_cell} | {_bounds(node)} | {description} |\n"


def _bounds(node: Json) -> str:
    parts = []
    if choices := items(node, "enum"):
        parts.append(", ".join(f"`{choice}`" for choice in choices))
    low, high = at(node, "minimum"), at(node, "maximum")
    if low is not None or high is not None:
        parts.append(f"{low} to {high}")
    if (longest := at(node, "maxLength")) is not None:
        parts.append(f"at most {longest} characters")
    if (most := at(node, "maxItems")) is not None:
        parts.append(f"at most {most} items")
    if (most := at(node, "maxProperties")) is not None:
        parts.append(f"at most {most} entries")
    return "; ".join(parts)


def _messages(node: Json) -> Iterator[str]:
    for each in items(node, "x-kubernetes-validations"):
        yield text(each, "message")
    for child in (*mapping(node, "properties").values(), *([at(node, "items")] if "items" in mapping(node) else [])):
        yield from _messages(child)
