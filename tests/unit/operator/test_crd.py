"""The CRD follows from the models, is structural and bounded, and each of its rules has a readable message."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from somabrain_operator.api.crd import chart_template, crd_yaml, generated_files, main, render_crd, structural
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube.names import SERVER, selector
from tests.unit.operator.samples import MINIMAL

ROOT = Path(__file__).parents[3]
CRD: Any = render_crd()
VERSION = CRD["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


@pytest.mark.parametrize("path", generated_files(ROOT), ids=lambda path: path.name)
def test_committed_files_match_rendered_files(path: Path) -> None:
    """The committed files are the rendered ones: run `.venv/bin/python -m somabrain_operator.api.crd`."""
    assert path.read_text(encoding="utf-8") == generated_files(ROOT)[path]


def test_check_fails_for_stale_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` names a file that differs, and writing corrects it."""
    assert main(["--root", str(tmp_path), "--check"]) == 1
    assert "somabrains.somabrain.io.yaml differs" in capsys.readouterr().err
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--root", str(tmp_path), "--check"]) == 0


def test_chart_crd_matches_definition_and_survives_uninstall() -> None:
    """The chart's copy has the policy `keep`: removing the operator must not remove every SomaBrain."""
    template = chart_template()
    lines = [line for line in template.splitlines() if not line.startswith("{{-")]
    copy = yaml.safe_load("\n".join(lines))
    assert copy["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert copy == yaml.safe_load(crd_yaml())


def test_schema_bounds_every_string_and_list() -> None:
    """Every string and list has a bound, without which the API server refuses rules over it."""
    unbounded = [
        path
        for path, node in nodes(SCHEMA)
        if (node.get("type") == "string" and "enum" not in node and "maxLength" not in node)
        or (node.get("type") == "array" and "maxItems" not in node)
    ]
    assert unbounded == [".apiVersion", ".kind"]


def test_schema_preserves_no_unknown_fields() -> None:
    """The schema preserves no unknown fields: they are rejected or pruned."""
    assert not [path for path, node in nodes(SCHEMA) if "x-kubernetes-preserve-unknown-fields" in node]
    maps = [node for _, node in nodes(SCHEMA) if "additionalProperties" in node]
    assert all(node["additionalProperties"]["maxLength"] and node["maxProperties"] for node in maps)


def test_every_spec_field_has_description() -> None:
    """`kubectl explain` has a description of each field; the items of a list are described by the list."""
    silent = [path for path, node in nodes(SCHEMA["properties"]["spec"]) if not node.get("description")]
    assert not [path for path in silent if not path.endswith("[]")]


def test_validation_rule_messages_name_their_field() -> None:
    """The message of each rule names the field and the remedy."""
    messages = [rule["message"] for _, node in nodes(SCHEMA) for rule in node.get("x-kubernetes-validations", [])]
    assert len(messages) >= 8
    assert all(message.startswith(("spec.", "metadata.name")) for message in messages)


def test_schema_defaults_match_model() -> None:
    """Defaults set by the API server are those of the model."""

    def filled(schema: Any, value: Any) -> Any:
        if "properties" not in schema or not isinstance(value, dict):
            return value
        result = dict(value)
        for name, child in schema["properties"].items():
            if name not in result and "default" in child:
                result[name] = child["default"]
            if name in result:
                result[name] = filled(child, result[name])
        return result

    stored = filled(SCHEMA["properties"]["spec"], dict(MINIMAL))
    assert SomaBrainSpec.model_validate(stored) == SomaBrainSpec.model_validate(MINIMAL)
    assert stored == SomaBrainSpec.model_validate(MINIMAL).model_dump(by_alias=True, mode="json", exclude_none=True)


def test_scale_subresource_paths_exist() -> None:
    """The scale subresource's paths, which `kubectl scale` and autoscalers read, exist."""
    scale = VERSION["subresources"]["scale"]
    assert set(scale) == {"specReplicasPath", "statusReplicasPath", "labelSelectorPath"}
    for path in scale.values():
        _, part, field = path.split(".")
        assert field in SCHEMA["properties"][part]["properties"]
    assert len(",".join(f"{k}={v}" for k, v in selector("a" * 40, SERVER).items())) <= 512


def test_schema_with_alternatives_is_rejected() -> None:
    """A type that is either a string or a list is rejected: a structural schema cannot express it."""
    with pytest.raises(ValueError, match="no alternatives"):
        structural({"anyOf": [{"type": "string"}, {"type": "array"}]}, {})
