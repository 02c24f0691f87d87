"""Monitor and rules are created as soon as the cluster has the kinds for them, those of the Prometheus operator."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from somabrain_operator.api.v1alpha1.monitoring import Dashboard, Rules
from somabrain_operator.kube.names import Key
from somabrain_operator.kube.owner import Owner
from somabrain_operator.render.monitoring import render_dashboard, render_rules
from tests.integration.operator.api import Api
from tests.integration.operator.brains import NAME, Brain, ControllerStub
from tests.integration.operator.chart import tool
from tests.integration.operator.examples import MONITORING
from tests.integration.operator.prometheus import KIND, NAMES, install
from tests.support.waiting import eventually


@pytest.fixture
def without_kinds(api: Api) -> Iterator[Api]:
    """An API server without the two kinds; they are deleted at the end."""
    yield api
    for each in api.objects(KIND):
        if each["metadata"]["name"] in NAMES:
            api.delete(KIND, each["metadata"]["name"])


def test_monitoring_objects_are_created_when_their_crds_appear(
    without_kinds: Api, brain: Brain, controller_stub: ControllerStub, tmp_path: Path
) -> None:
    """Monitor and rules are created when their kinds appear.

    Until then the status names the missing kind, the service is Ready, and nothing is written.
    """
    brain.apply(**MONITORING)
    controller_stub.serve()
    brain.until("ConfigValid", "True", "The ServiceMonitor of spec.monitoring is not created yet: the cluster has no")
    assert "dashboard" in str(brain.child("ConfigMap", "dashboard")["metadata"]["labels"])
    time.sleep(1)
    before = brain.api.writes()
    time.sleep(4)
    assert brain.api.writes() == before
    install(without_kinds, tmp_path)
    monitor = eventually(lambda: brain.child("ServiceMonitor", "server"), bool, "the ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["endpoints"][0]["interval"] == "15s"
    rules = eventually(lambda: brain.child("PrometheusRule", "server"), bool, "the rules")
    assert len(rules["spec"]["groups"][0]["rules"]) > 4
    eventually(
        lambda: brain.conditions()["ConfigValid"]["message"],
        lambda message: message == "The spec is valid.",
        "all is made",
    )
    time.sleep(1)
    before = brain.api.writes()
    brain.annotate("note", "looked at again")
    time.sleep(2)
    assert brain.api.writes() == before
    edit = {"metadata": {"labels": {"app.kubernetes.io/part-of": "mine"}}}
    brain.api.patch("ServiceMonitor", f"{NAME}-server", brain.namespace, edit)
    eventually(
        lambda: brain.child("ServiceMonitor", "server")["metadata"]["labels"]["app.kubernetes.io/part-of"],
        lambda label: label == "somabrain",
        "an edit by hand is put back, although no watch knows the kind",
    )
    brain.apply(monitoring=None)
    for kind in ("ServiceMonitor", "PrometheusRule"):
        eventually(partial(brain.api.objects, kind, brain.namespace), lambda objects: objects == [], "it goes")
    names = [each["metadata"]["name"] for each in brain.api.objects("ConfigMap", brain.namespace)]
    assert f"{NAME}-dashboard" not in names


def test_promtool_accepts_all_rules_and_dashboard_expressions(tmp_path: Path) -> None:
    """promtool accepts every rule, and every expression of the dashboard with Grafana's interval filled in."""
    owner = Owner(Key("demo", NAME), "uid")
    groups: Any = render_rules(owner, Rules())["spec"]
    config_map: Any = render_dashboard(owner, Dashboard())
    (board,) = (json.loads(each) for each in config_map["data"].values())
    panels = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    recorded = [
        {"record": f"panel:{index}", "expr": each.replace("$__rate_interval", "1m")}
        for index, each in enumerate(panels)
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [*groups["groups"], {"name": "panels", "rules": recorded}]}))
    done = subprocess.run([tool("promtool"), "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(recorded) + len(groups['groups'][0]['rules'])} rules found" in done.stdout
