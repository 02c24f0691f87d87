"""Write the JSON schemas that kubeconform validates manifests against, one file per kind.

Schemas of Kubernetes' own kinds come from the OpenAPI file of the pinned `k8s.io/kubernetes` module (from the Go module
cache, or downloaded by the Go toolchain and verified with go.sum); those of a custom resource from its CRD. There is no
other source, so a kind that is in neither has no schema, and kubeconform fails on it.

Usage: schemas.py OUTPUT_FOLDER CRD_FILE...
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from devcluster import pinned_tools, shell
from devcluster.environment import inherited, local_paths
from devcluster.progress import Progress
from devcluster.tools import Toolchain

UNIONS: Mapping[str, object] = {
    # Types that OpenAPI v2 cannot express, as their UnmarshalJSON reads them.
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
}
Schema = Mapping[str, object]
REF = "#/definitions/"


def strict(schema: object) -> object:
    """Return `schema` without descriptions and extensions, and with unknown properties forbidden."""
    if not isinstance(schema, Mapping):
        return schema
    cleaned: dict[str, object] = {}
    for key, value in schema.items():
        if key == "properties":
            cleaned[key] = {name: strict(inner) for name, inner in value.items()}
        elif key in ("items", "additionalProperties", "not"):
            cleaned[key] = strict(value)
        elif key in ("allOf", "anyOf", "oneOf"):
            cleaned[key] = [strict(inner) for inner in value]
        elif key not in ("description", "default") and not key.startswith("x-kubernetes-"):
            cleaned[key] = value
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        cleaned |= {"type": ["string", "integer"]}
        cleaned.pop("format", None)
    open_ended = "additionalProperties" in cleaned or schema.get("x-kubernetes-preserve-unknown-fields")
    if "properties" in cleaned and not open_ended:
        cleaned["additionalProperties"] = False
    return cleaned


def references(schema: object) -> Iterator[str]:
    """Yield the names of the definitions that `schema` refers to."""
    if isinstance(schema, Mapping):
        if isinstance(ref := schema.get("$ref"), str):
            yield ref.removeprefix(REF)
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def closure(root: object, definitions: Mapping[str, object]) -> dict[str, object]:
    """Return the definitions that `root` refers to, directly or indirectly, by name."""
    reached: dict[str, object] = {}
    waiting = list(references(root))
    while waiting:
        if (name := waiting.pop()) not in reached:
            reached[name] = definitions[name]
            waiting.extend(references(definitions[name]))
    return reached


def of_kubernetes(openapi: Mapping[str, dict[str, Schema]]) -> Iterator[tuple[str, str, str, object]]:
    """Yield (group, version, kind, schema) of every kind defined in an OpenAPI v2 file."""
    definitions = {name: UNIONS.get(name, strict(schema)) for name, schema in openapi["definitions"].items()}
    for name, schema in openapi["definitions"].items():
        names = schema.get("x-kubernetes-group-version-kind")
        if not isinstance(names, list) or len(names) != 1:
            continue  # call options and watch events, which belong to every group and to no manifest
        root = definitions[name]
        assert isinstance(root, dict)
        kind = names[0]
        yield kind["group"], kind["version"], kind["kind"], {**root, "definitions": closure(root, definitions)}


def of_crd(crd: dict[str, dict[str, object]]) -> Iterator[tuple[str, str, str, object]]:
    """Yield (group, version, kind, schema) of every version of a custom resource."""
    spec = crd["spec"]
    versions, names = spec["versions"], spec["names"]
    assert isinstance(versions, list)
    assert isinstance(names, dict)
    for version in versions:
        schema = strict(version["schema"]["openAPIV3Schema"])
        assert isinstance(schema, dict)
        # A CRD declares metadata only as `object`; the API server defines the rest.
        standard_properties = {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
        }
        schema["properties"] = {**schema["properties"], **standard_properties}
        yield str(spec["group"]), version["name"], names["kind"], schema


def openapi_file() -> Path:
    """Return the OpenAPI file of the pinned Kubernetes version, downloading its module if it is not cached."""
    paths = local_paths()
    modules = paths.cache / "go" / "mod"
    file = modules / f"k8s.io/kubernetes@{pinned_tools.KUBERNETES}" / "api" / "openapi-spec" / "swagger.json"
    if not file.exists():
        progress = Progress(paths.cache / "durations.json")
        go = Toolchain(paths, progress).folder(pinned_tools.GO) / "go" / "bin" / "go"
        env = inherited(GOFLAGS="-modcacherw", GOMODCACHE=str(modules), GOROOT="", GOTOOLCHAIN="local")
        with progress.heartbeat(), progress.step(f"Download the schemas of Kubernetes {pinned_tools.KUBERNETES}"):
            folder = paths.checkout / "devcluster" / "go" / "kubernetes"
            shell.run([go, "mod", "download", "k8s.io/kubernetes"], env=env, cwd=folder)
    return file


def main(output: Path, crds: list[Path]) -> None:
    """Write every schema below `output`, replacing its contents, as GROUP/KIND_VERSION.json (v1 for the core group)."""
    schemas = list(of_kubernetes(json.loads(openapi_file().read_text())))
    for crd in crds:
        schemas += of_crd(yaml.safe_load(crd.read_text()))
    shutil.rmtree(output, ignore_errors=True)
    for group, version, kind, schema in schemas:
        file = output / (group or version) / f"{kind.lower()}_{version}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(schema))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
