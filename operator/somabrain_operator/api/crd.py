"""Render the CustomResourceDefinition and its reference page from the models.

    python -m somabrain_operator.api.crd [--check]

writes crds/, the operator chart's copy and docs/reference-crd.md; `--check` writes nothing and fails when they
differ. The schema is structural: references inlined, every string and list bounded (the API server refuses rules
over unbounded ones), unknown fields pruned or rejected.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from somabrain_operator.api.crd_docs import render_crd_docs
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.api.v1alpha1.status import SomaBrainStatus
from somabrain_operator.kube import names
from somabrain_operator.kube.objects import Json, Manifest, at, items, mapping, text

NAME: Final = f"{names.PLURAL}.{names.GROUP}"
HEADER: Final = (
    "# Rendered from operator/somabrain_operator/api/v1alpha1 by `python -m somabrain_operator.api.crd`. Do not edit.\n"
)
_STRUCTURAL_KEYWORDS: Final = (
    "description",
    "type",
    "format",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "required",
    "x-kubernetes-validations",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)
_COLUMNS: Final = (
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "True if it serves as specified."),
    ("Version", "string", ".status.version", "Version that all pods run."),
    ("Replicas", "integer", ".status.replicas", "Number of pods."),
    ("Migrated", "string", '.status.conditions[?(@.type=="Migrated")].reason', "State of the migration."),
    ("Status", "string", ".status.phase", "Summary of the conditions."),
    ("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
)
_STATUS_BEFORE_ANY: Final[Manifest] = {
    "conditions": [
        {
            "type": "Ready",
            "status": "Unknown",
            "reason": "NotObserved",
            "message": "No operator has observed this resource yet. If that stays so, check that one runs and watches "
            "the namespace.",
            "observedGeneration": 0,
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }
    ]
}
"""Status until an operator writes one: without it kstatus reports a resource that was not observed yet as ready."""
_NAME_RULE: Final[Manifest] = {
    "rule": "self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "message": "metadata.name becomes part of the names of Services: start it with a letter, use lower-case letters, "
    "digits and dashes, and at most 40 characters",
}


def structural(schema: Json, definitions: Mapping[str, Json]) -> dict[str, Json]:
    """Return a JSON schema of pydantic as a structural schema of Kubernetes.

    Args:
        schema: a node of `model_json_schema()`.
        definitions: its `$defs`; references into them are inlined.

    Raises:
        ValueError: the node has alternatives, which no structural schema can have.
    """
    node = dict(mapping(schema))
    if reference := text(node, "$ref"):
        node = {**mapping(definitions, reference.rsplit("/", 1)[-1]), **{k: v for k, v in node.items() if k != "$ref"}}
    alternatives = [each for each in items(node, "anyOf") if at(each, "type") != "null"]
    if "anyOf" in node and "x-kubernetes-int-or-string" not in node:
        if len(alternatives) != 1:
            raise ValueError(f"A structural schema has no alternatives: {node}")
        return structural({**{k: v for k, v in node.items() if k != "anyOf"}, **mapping(alternatives[0])}, definitions)
    result: dict[str, Json] = {}
    if "const" in node:
        node["enum"] = [node["const"]]
    result.update({key: node[key] for key in _STRUCTURAL_KEYWORDS if key in node})
    if "properties" in node:
        result["properties"] = {
            name: structural(each, definitions) for name, each in mapping(node, "properties").items()
        }
    if node.get("default") is not None:
        result["default"] = _minimal_default(node["default"], result)
    if "items" in node:
        result["items"] = structural(node["items"], definitions)
        if "maxItems" in node:
            result["maxItems"] = node["maxItems"]
    if isinstance(values := node.get("additionalProperties"), Mapping):
        result["additionalProperties"] = structural(values, definitions)
        result["maxProperties"] = node["maxProperties"]
    if "x-kubernetes-int-or-string" in node:
        result["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    return result


def _minimal_default(default: Json, node: Json) -> Json:
    """Return a default without the values that equal the defaults of the node's own fields."""
    if not isinstance(default, Mapping):
        return default
    fields = {
        name: (_minimal_default(value, at(node, "properties", name)), at(node, "properties", name, "default"))
        for name, value in default.items()
        if value is not None
    }
    return {name: value for name, (value, own) in fields.items() if value != own}


def render_crd() -> Manifest:
    """Return the CustomResourceDefinition."""
    spec, status = (model.model_json_schema(by_alias=True) for model in (SomaBrainSpec, SomaBrainStatus))
    schema: Manifest = {
        "type": "object",
        "description": "A memory service that AI agents can trust.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(spec, mapping(spec, "$defs")),
            "status": {**structural(status, mapping(status, "$defs")), "default": _STATUS_BEFORE_ANY},
        },
        "x-kubernetes-validations": [_NAME_RULE],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.KIND.lower(),
                "shortNames": ["sb"],
                "categories": ["all"],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path, "description": description}
                        for name, kind, path, description in _COLUMNS
                    ],
                }
            ],
        },
    }


class _NoAliasDumper(yaml.SafeDumper):
    """YAML dumper without anchors and aliases: equal values are written out each time."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def crd_yaml() -> str:
    """Return the content of the committed CustomResourceDefinition file."""
    return HEADER + yaml.dump(render_crd(), Dumper=_NoAliasDumper, sort_keys=False, width=120, allow_unicode=True)


def chart_template() -> str:
    """Return the chart's copy: a template, because Helm never upgrades a chart's crds/."""
    head, body = crd_yaml().split("metadata:\n", 1)
    keep_annotation = "  annotations:\n    helm.sh/resource-policy: keep\n"
    guarded = f"{head}metadata:\n{keep_annotation}{body}".replace("{{", '{{ "{{" }}')
    return "{{- if .Values.crd.install }}\n" + guarded + "{{- end }}\n"


def generated_files(root: Path) -> dict[Path, str]:
    """Return the generated files under the repository's root by path, with their content."""
    return {
        root / "crds" / f"{NAME}.yaml": crd_yaml(),
        root / "helm/charts/somabrain-operator/templates/somabrain-crd.yaml": chart_template(),
        root / "docs/reference-crd.md": render_crd_docs(render_crd()),
    }


def main(argv: list[str] | None = None) -> int:
    """Write the generated files or check them; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m somabrain_operator.api.crd", description="Render the CRD.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file differs")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the repository's root")
    options = parser.parse_args(argv)
    stale = [
        path
        for path, content in generated_files(options.root).items()
        if not path.exists() or path.read_text() != content
    ]
    for path in stale:
        if options.check:
            sys.stderr.write(f"{path} differs from the models; run `python -m somabrain_operator.api.crd`.\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(generated_files(options.root)[path])
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
