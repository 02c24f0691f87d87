"""Fuzzed specs: the API server refuses each, or the operator reports on it.

hypothesis takes a complete spec and changes, adds and removes parts of it anywhere. The result goes through the real
API server to the running operator: it is refused with a message that names the field, or gets a status of its newest
generation; and the operator continues with other resources.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from somabrain_operator.api.crd import render_crd
from tests.integration.operator.api import Api, Object, Refused
from tests.integration.operator.brains import SPEC, Brain
from tests.integration.operator.process import Operator
from tests.support.waiting import eventually

SCHEMA: Any = render_crd()
FIELDS = SCHEMA["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
EXAMPLES = 120
WORDS = ("", "x", "0", "-1", "1Gi", "250m", "a/b:c", "UPPER case", "https://h/p", "/p", "ü" * 70, "x" * 600, "\n")
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(WORDS),
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("name", "secretRef", "limits", "cpu", "key", "x")), inner, max_size=3)
    ),
    max_leaves=6,
)


def of_schema(schema: Any) -> st.SearchStrategy[Any]:
    """Values of the types of a schema, not always within its bounds."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "x-kubernetes-int-or-string" in schema:
        return st.sampled_from((1, 0, "1", "100m", "64Mi", "2Gi", "lots"))
    match schema.get("type"):
        case "object" if "properties" in schema:
            return st.fixed_dictionaries({}, optional={n: of_schema(each) for n, each in schema["properties"].items()})
        case "object":
            return st.dictionaries(st.sampled_from(("a", "team", "disk")), st.sampled_from(WORDS), max_size=2)
        case "array":
            return st.lists(of_schema(schema["items"]), max_size=3)
        case "integer":
            return st.integers(schema.get("minimum", 0) - 1, min(schema.get("maximum", 100), 2**31) + 1)
        case "boolean":
            return st.booleans()
        case _:
            return st.sampled_from(WORDS)


@st.composite
def specs(draw: st.DrawFn) -> Object:
    """A complete spec with up to four fields generated from the schema or at random."""
    spec: Object = copy.deepcopy(SPEC)
    for field in draw(st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=4, unique=True)):
        spec[field] = draw(of_schema(FIELDS[field]) if draw(st.integers(0, 4)) else anything)
    if not draw(st.integers(0, 5)):
        del spec[draw(st.sampled_from(sorted(spec)))]
    return spec


def refusal(api: Api, manifest: Object, namespace: str) -> str:
    """Create an object; return the API server's message if it refused, else an empty string."""
    try:
        api.create(manifest, namespace)
    except Refused as refused:
        return str(refused)
    return ""


@pytest.mark.timeout(400)
def test_fuzzed_spec_is_rejected_or_reconciled(api: Api, running: Operator, brain: Brain) -> None:
    """Any spec gets a status of its newest generation or a refusal that names the field; no crash, no stuck key."""
    numbers = iter(range(EXAMPLES * 20))
    names: list[str] = []

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(specs())
    def create(spec: Object) -> None:
        name = f"m{next(numbers)}"
        manifest = {"apiVersion": "somabrain.io/v1alpha1", "kind": "SomaBrain", "metadata": {"name": name}}
        if message := refusal(api, {**manifest, "spec": spec}, brain.namespace):
            assert any(field in message for field in ("spec", *FIELDS)), (spec, message)
            return
        names.append(name)
        if len(names) % 2:  # and what is stored may be changed into something else
            edit = {**{field: None for field in spec if field not in SPEC}, "replicas": len(names) % 3}
            api.patch("SomaBrain", name, brain.namespace, {"spec": edit})

    create()
    assert len(names) > EXAMPLES / 10, "hardly any was valid"
    for name in names:
        resource = eventually(
            lambda name=name: api.get("SomaBrain", name, brain.namespace),  # type: ignore[misc]
            lambda it: it.get("status", {}).get("observedGeneration") == it["metadata"]["generation"],
            f"{name} is answered",
        )
        for condition in resource["status"]["conditions"]:
            assert condition["message"].endswith((".", "overwrite")), condition
            assert condition["observedGeneration"] == resource["metadata"]["generation"]
    assert running.process.poll() is None
    assert '"exception"' not in running.log.read_text()
    eventually(
        running.metrics, lambda metrics: metrics["somabrain_operator_queue_oldest_seconds"] < 5, "no key is stuck"
    )
