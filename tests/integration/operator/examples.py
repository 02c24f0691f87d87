"""Specs of the resources in the folder `examples`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def _spec(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load(Path(f"examples/{name}.yaml").read_text(encoding="utf-8"))["spec"]
    return spec


MONITORING = _spec("monitoring")
SCALING = _spec("scaling")
