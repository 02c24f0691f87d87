"""Random manual edits: each is reverted, or named in a condition, and never blocks the resource.

hypothesis takes the live children and the API server's own schema of them, and changes, removes, empties, adds, moves
and swaps parts anywhere. An edit that the API server accepts must be reverted within seconds.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.integration.operator.api import Api, Object, Refused
from tests.integration.operator.brains import NAME, Brain, ControllerStub
from tests.support.waiting import eventually

EDITED = (
    ("Deployment", "server"),
    ("Service", "grpc"),
    ("Service", "headless"),
    ("ConfigMap", "config"),
    ("ConfigMap", "policy"),
    ("PodDisruptionBudget", "server"),
    ("NetworkPolicy", "server"),
    ("HorizontalPodAutoscaler", "server"),
)
WEIGHTED = (*EDITED, *[("Deployment", "server")] * len(EDITED))
DEFINITIONS = {
    "Deployment": "io.k8s.api.apps.v1.Deployment",
    "Service": "io.k8s.api.core.v1.Service",
    "ConfigMap": "io.k8s.api.core.v1.ConfigMap",
    "PodDisruptionBudget": "io.k8s.api.policy.v1.PodDisruptionBudget",
    "NetworkPolicy": "io.k8s.api.networking.v1.NetworkPolicy",
    "HorizontalPodAutoscaler": "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
}
ALLOCATED = {"clusterIP", "clusterIPs", "ipFamilies", "nodePort", "healthCheckNodePort"}
"""Fields of a Service that the API server allocates again once they were removed."""
WORDS = ("x", "Default", "None", "Local", "TCP", "UDP", "Always", "ClientIP", "RuntimeDefault", "9m", "1Gi", "")
PUT_BACK_S = 10.0
Path = tuple[str | int, ...]


def body(manifest: Object) -> Any:
    """Return the fields that an edit may not change: all but metadata, status and fields that others may set."""
    tree = {field: value for field, value in manifest.items() if field not in ("metadata", "status", "apiVersion")}
    if manifest["kind"] == "Deployment":
        tree = copy.deepcopy(tree)
        tree["spec"].pop("replicas", None)  # the autoscaler's
        annotations = tree["spec"]["template"]["metadata"].get("annotations") or {}
        for name in [name for name in annotations if not name.startswith("somabrain.io/")]:
            del annotations[name]  # as `kubectl rollout restart` adds one
    return without(tree, ALLOCATED) if manifest["kind"] == "Service" else tree


def without(tree: Any, fields: set[str]) -> Any:
    if isinstance(tree, dict):
        return {field: without(value, fields) for field, value in tree.items() if field not in fields}
    return [without(each, fields) for each in tree] if isinstance(tree, list) else tree


def nodes(tree: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for step, child in children:
        yield from nodes(child, (*path, step))


def reach(tree: Any, path: Path) -> Any:
    for step in path:
        tree = tree[step]
    return tree


def pointer(path: Path) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


class Schema:
    """The API server's schema of the children."""

    def __init__(self, api: Api) -> None:
        self._definitions = api.client._client._client.get("/openapi/v2").json()["definitions"]

    def of(self, kind: str, path: Path) -> Any:
        """Return the schema of the value at a path."""
        schema = self._definitions[DEFINITIONS[kind]]
        for step in path:
            schema = self._resolved(schema)
            schema = (
                schema["items"]
                if isinstance(step, int)
                else (schema.get("properties", {}).get(step) or schema.get("additionalProperties", {}))
            )
        return self._resolved(schema)

    def values(self, draw: Any, schema: Any, depth: int = 0) -> Any:
        """Draw a small value of a schema: fields that are required, and up to one more."""
        schema = self._resolved(schema)
        if "format" in schema and schema["format"] == "int-or-string":
            return draw(st.sampled_from((1, "x", "50%")))
        match schema.get("type"):
            case "integer":
                return draw(st.integers(0, 3))
            case "boolean":
                return draw(st.booleans())
            case "array":
                return [self.values(draw, schema["items"], depth + 1)]
            case "object" | None if schema.get("properties"):
                fields = list(schema.get("required", ()))
                more = sorted(set(schema["properties"]) - set(fields))
                if more and depth < 3 and draw(st.booleans()):
                    fields.append(draw(st.sampled_from(more)))
                return {field: self.values(draw, schema["properties"][field], depth + 1) for field in fields}
            case "object":
                return draw(st.sampled_from(({}, {"x": "y"})))
            case _:
                return draw(st.sampled_from(WORDS))

    def _resolved(self, schema: Any) -> Any:
        while "$ref" in schema:
            schema = self._definitions[schema["$ref"].rsplit("/", 1)[-1]]
        return schema


def draw_edit(draw: Any, kind: str, live: Object, schema: Schema) -> list[Object]:
    """Draw a JSON patch from the structure of a live object."""
    paths = [path for path in nodes(body(live)) if len(path) > 0 and path[0] != "kind"]
    path = draw(st.sampled_from(paths))
    value, at = reach(live, path), pointer(path)
    actions = ["remove", "schema"]
    if isinstance(value, dict):
        actions += ["empty", "add", "add", "swap", "swap"]
    elif isinstance(value, list):
        actions += ["empty", "append", "double", "reverse"]
    match draw(st.sampled_from(actions)):
        case "remove":
            return [{"op": "remove", "path": at}]
        case "schema":
            return [{"op": "replace", "path": at, "value": schema.values(draw, schema.of(kind, path))}]
        case "empty":
            return [{"op": "replace", "path": at, "value": {} if isinstance(value, dict) else []}]
        case "append":
            item = schema.values(draw, schema.of(kind, (*path, 0)))
            return [{"op": "add", "path": f"{at}/{draw(st.sampled_from(('-', '0')))}", "value": item}]
        case "double":
            item = copy.deepcopy(value[0]) if value else {}
            if isinstance(item, dict):
                item = {**item, "name": "x"}
            return [{"op": "add", "path": f"{at}/-", "value": item}]
        case "reverse":
            return [{"op": "replace", "path": at, "value": value[::-1]}]
        case action:
            known = sorted(schema.of(kind, path).get("properties", {"x": {}}))
            field = draw(st.sampled_from(known))
            added = schema.values(draw, schema.of(kind, (*path, field)))
            addition = {"op": "add", "path": f"{at}{pointer((field,))}", "value": added}
            if action == "add" or not value:
                return [addition]
            return [{"op": "remove", "path": f"{at}{pointer((draw(st.sampled_from(sorted(value))),))}"}, addition]


@pytest.mark.timeout(3600)
def test_random_edit_is_reverted_or_reported_in_condition(
    brain: Brain, controller_stub: ControllerStub, request: pytest.FixtureRequest
) -> None:
    """An accepted edit of any child is reverted within seconds or named in a condition; the resource stays editable."""
    edits = request.config.getoption("drift_edits")
    brain.apply(
        podDisruptionBudget={"maxUnavailable": 1}, networkPolicy={}, autoscaling={"min": 1, "max": 3}, replicas=1
    )
    controller_stub.serve()
    drawn = RandomEdits(brain, Schema(brain.api))

    @settings(
        max_examples=edits * 20,
        deadline=None,
        derandomize=edits <= 30,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def edit(data: st.DataObject) -> None:
        kind, component, patch = drawn.draw(data.draw)
        if len(drawn.accepted) < edits:
            drawn.edit(kind, component, patch)

    edit()
    print(f"{len(drawn.accepted)} edits were accepted, {drawn.named} of them named in a condition")
    assert len(drawn.accepted) >= edits * 0.8, "too few edits were valid"
    assert drawn.named <= edits * 0.1, "too many edits were not put back"


class RandomEdits:
    """A SomaBrain that is edited manually."""

    def __init__(self, brain: Brain, schema: Schema) -> None:
        self._brain = brain
        self._schema = schema
        self._bound = 1
        self._children = {each: brain.child(*each) for each in EDITED}
        self.accepted: list[str] = []
        self.named = 0

    def draw(self, draw: Any) -> tuple[str, str, list[Object]]:
        """Draw an edit of the original child: the draw may not depend on the server."""
        kind, component = draw(st.sampled_from(WEIGHTED))
        return kind, component, draw_edit(draw, kind, self._children[kind, component], self._schema)

    def edit(self, kind: str, component: str, patch: list[Object]) -> None:
        """Edit a child, and wait until the edit is reverted and the next edit of the resource is applied."""
        before = self._brain.child(kind, component)
        try:
            after = self._brain.api.patch(kind, f"{NAME}-{component}", self._brain.namespace, patch)
        except Refused:
            return
        if body(after) == body(before):
            return
        what = f"{kind} {component}: {json.dumps(patch)}"
        self.accepted.append(what)
        put_back = eventually(
            lambda: self._is_put_back(kind, component, body(before)) or self._condition(kind, component),
            bool,
            f"{what} is put back or named",
            PUT_BACK_S,
        )
        if put_back is not True:
            self.named += 1
            print(f"not put back: {what}: {put_back}")
            self._brain.api.delete(kind, f"{NAME}-{component}", self._brain.namespace)
            eventually(lambda: self._is_put_back(kind, component, body(before)), bool, f"{what} is made again")
        self._edit_resource(what)

    def _is_put_back(self, kind: str, component: str, before: Any) -> bool:
        return bool(body(self._brain.child(kind, component)) == before)

    def _condition(self, kind: str, component: str) -> str:
        degraded = self._brain.conditions().get("Degraded", {})
        message = str(degraded.get("message", ""))
        named = kind in message and degraded["status"] == "True"
        return message if named and (degraded["reason"] == "ApplyRefused" or "still differs" in message) else ""

    def _edit_resource(self, what: str) -> None:
        self._bound = 3 - self._bound
        self._brain.apply(podDisruptionBudget={"maxUnavailable": self._bound})
        eventually(
            lambda: self._brain.child("PodDisruptionBudget", "server")["spec"]["maxUnavailable"],
            lambda now: now == self._bound,
            f"after {what} the next edit is applied",
        )
        eventually(
            lambda: self._brain.conditions()["Degraded"],
            lambda now: now["reason"] not in ("ApplyRefused", "DriftRemains"),
            f"after {what} nothing is wrong",
        )
