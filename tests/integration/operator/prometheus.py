"""Definitions of the Prometheus operator."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import yaml

from devcluster.crds import prometheus_operator
from tests.integration.operator.api import Api
from tests.integration.operator.chart import established
from tests.support.waiting import eventually

KIND = "CustomResourceDefinition"
NAMES = ("servicemonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com")


def install(api: Api, folder: Path) -> None:
    """Install the two definitions, as an administrator does."""
    for file in prometheus_operator(folder):
        definition = yaml.safe_load(file.read_text(encoding="utf-8"))
        if definition["metadata"]["name"] in NAMES:
            api.create(definition)
    for name in NAMES:
        eventually(partial(api.get, KIND, name), lambda it: established(it) == "True", "it is known")
