"""Render docs/reference-settings.md, reference-metrics.md and reference-errors.md from the code.

    python scripts/reference.py [--check]

`--check` writes nothing and fails if a page differs. Each table is taken from the code alone: the docstrings of the
settings, the help texts of the metrics, the class tree of the errors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from common import errors
from common.config.former_names import ACCEPTED_UNTIL, FORMER_ENDPOINT_KEYS, FORMER_NAMES
from common.config.settings import DELIMITER, PREFIX, Settings
from somabrain_client.mcp.metrics import Metrics as McpMetrics
from somabrain_operator.metrics import Metrics as OperatorMetrics
from somabrain_service.interceptors.errors import STATUS_CODES
from somabrain_service.metrics import FORMER_FAMILIES, FORMER_LABELS
from somabrain_service.metrics import Metrics as ServiceMetrics

DOCS = Path(__file__).parents[1] / "docs"
RENDERED = "Rendered by `python scripts/reference.py` from {source}; do not edit.\n"


def main() -> int:
    """Write or check the pages and return the exit status."""
    parser = argparse.ArgumentParser(prog="python scripts/reference.py", description="Render reference pages.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a page differs")
    check = parser.parse_args().check
    pages = {"settings": settings(), "metrics": metrics(), "errors": tree()}
    stale = {DOCS / f"reference-{name}.md": "\n".join(lines) + "\n" for name, lines in pages.items()}
    stale = {path: text for path, text in stale.items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        if check:
            print(f"{path} is out of date. Run `python scripts/reference.py`.", file=sys.stderr)
        else:
            path.write_text(text)
    return 1 if check and stale else 0


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    columns = list(header)
    yield f"| {' | '.join(columns)} |"
    yield f"| {' | '.join('---' for _ in columns)} |"
    for row in rows:
        yield f"| {' | '.join(' '.join(cell.split()).replace('|', '&#124;') for cell in row)} |"


def settings() -> list[str]:
    """Return the lines of the settings page."""
    lines = ["# Reference: settings", "", RENDERED.format(source="`common/config/settings.py`")]
    lines.append("Every setting is an environment variable, or a file of that name in a folder listed in")
    lines.append("`SOMABRAIN_SECRETS_DIR`. An unknown variable with the prefix is an error.")
    lines += ["", "## Of the process", "", *table(("variable", "default", "meaning"), _rows(Settings, PREFIX))]
    for name, field in Settings.model_fields.items():
        if (group := _group(field)) is not None:
            about = " ".join((group.__doc__ or "").split())
            prefix = f"{PREFIX}{name}{DELIMITER}".upper()
            lines += ["", f"## {name}", "", about, ""]
            lines += table(("variable", "default", "meaning"), _rows(group, prefix))
    lines += ["", "## Former names", "", f"Accepted until {ACCEPTED_UNTIL}, with a warning in the log of the process."]
    lines.append("A setting given under both of its names is an error.")
    keys = {f"`{before}` in `SOMABRAIN_ENCODER__ENDPOINTS`": f"`{now}`" for before, now in FORMER_ENDPOINT_KEYS.items()}
    rows = {**{f"`{before}`": f"`{now}`" for before, now in FORMER_NAMES.items()}, **keys}
    return [*lines, "", *table(("former", "present"), rows.items())]


def _group(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        group = _group(field)
        if group is not None and model is not Settings:
            yield from _rows(group, f"{prefix}{name}{DELIMITER}".upper())
        elif group is None:
            default = "required" if field.is_required() else "" if field.default in (None, "") else f"`{field.default}`"
            bounds = ", ".join(filter(None, map(_bound, field.metadata)))
            meaning = field.description or ""
            yield f"`{prefix}{name}`".upper(), default, f"{meaning}{f' ({bounds})' if bounds else ''}"


def _bound(constraint: object) -> str:
    words = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most", "max_length": "at most"}
    return ", ".join(f"{word} {getattr(constraint, key):g}" for key, word in words.items() if hasattr(constraint, key))


def metrics() -> list[str]:
    """Return the lines of the metrics page."""
    lines = ["# Reference: metrics", "", RENDERED.format(source="the registries of the processes")]
    lines.append("No label contains caller input: each has a closed set of values, so the number of series is bounded.")
    registries = {
        "The service": ServiceMetrics().registry,
        "The operator": OperatorMetrics().registry,
        "The MCP server": McpMetrics().registry,
    }
    for title, registry in registries.items():
        lines += ["", f"## {title}", "", *table(("metric", "type", "labels", "meaning"), _families(registry))]
    return lines


def _families(registry: CollectorRegistry) -> Iterator[tuple[str, str, str, str]]:
    labels = {
        collector._name: collector._labelnames  # noqa: SLF001
        for collector in list(registry._collector_to_names)  # noqa: SLF001 - the library has no public way
        if isinstance(collector, MetricWrapperBase)
    }
    for family in sorted(registry.collect(), key=lambda family: family.name):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        given = labels.get(family.name, getattr(family, "_labelnames", ()))
        if present := FORMER_FAMILIES.get(family.name):
            given = tuple(FORMER_LABELS.get(label, label) for label in labels[present])
        yield f"`{name}`", family.type, ", ".join(f"`{label}`" for label in given), family.documentation


def tree() -> list[str]:
    """Return the lines of the errors page."""
    lines = [
        "# Reference: errors",
        "",
        RENDERED.format(source="`common/errors.py` and the service's table of statuses"),
    ]
    lines.append(
        "Every response that is not OK carries `google.rpc.ErrorInfo` with the reason below and the domain "
        "`somabrain.io`, and `RequestInfo` with the request id, by which the service's log identifies the call."
    )
    return [*lines, "", *table(("reason", "gRPC status", "meaning"), _errors(errors.SomaBrainError))]


def _errors(kind: type[errors.SomaBrainError]) -> Iterator[tuple[str, str, str]]:
    if kind in STATUS_CODES:
        yield f"`{kind.reason}`", STATUS_CODES[kind].name, (kind.__doc__ or "")
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _errors(child)


if __name__ == "__main__":
    sys.exit(main())
