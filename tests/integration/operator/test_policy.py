"""A real OPA, started as in a pod, reads the policy's ConfigMap from a folder laid out as by the kubelet."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster.loopback.server_process import ServerProcess, free_ports, http_answers, running, tool
from somabrain_operator.api.v1alpha1.spec import Opa
from somabrain_operator.render.opa import POLICY_FOLDER, render_opa_container

RULES: Mapping[str, str] = next(
    each["data"]
    for each in yaml.safe_load_all(Path("examples/settings.yaml").read_text(encoding="utf-8"))
    if each["metadata"]["name"] == "quickstart-rules"
)
LIMITED: Mapping[str, str] = {
    "sb.rego": Path("common/policy/sb.rego").read_text(encoding="utf-8"),
    "limits.json": json.dumps({"sb": {"limits": {"read_only_tenants": ["archive"]}}}),
}


@contextmanager
def deciding(data: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Run OPA with the arguments of its container over a mounted ConfigMap, and yield its address."""
    mounted = folder / "policy"
    (mounted / "..2026_01_01").mkdir(parents=True)
    (mounted / "..data").symlink_to("..2026_01_01")
    for key, text in data.items():
        (mounted / "..2026_01_01" / key).write_text(text)
        (mounted / key).symlink_to(f"..data/{key}")
    api_port, health = free_ports(2)
    replacements = {
        "--addr=127.0.0.1:8181": f"--addr=127.0.0.1:{api_port}",
        POLICY_FOLDER: str(mounted),
        "--diagnostic-addr=:8282": f"--diagnostic-addr=127.0.0.1:{health}",
    }
    args = render_opa_container(Opa(), "any", "service:0.2.0")["args"]
    assert isinstance(args, list)
    argv = [tool("opa"), *(replacements.get(str(word), str(word)) for word in args)]
    with running(ServerProcess(argv, folder / "log", http_answers(f"http://127.0.0.1:{health}/health"))):
        yield f"http://127.0.0.1:{api_port}/v1/data/sb/policy"


def decision(url: str, tenant: str) -> dict[str, Any]:
    """Return the decision about a write of a tenant."""
    method = "/somabrain.memory.v1.MemoryService/Remember"
    body = {"input": {"subject": "agent", "tenant": tenant, "scopes": None, "method": method, "namespace": "notes"}}
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        result: dict[str, Any] = json.load(answer)["result"]
    return result


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (RULES, "not_open: the token names no tenant, or one that is closed"),
        (LIMITED, "tenant_writable: the tenant is read-only"),
    ],
    ids=["example", "default policy"],
)
def test_opa_rules_read_configmap_data(data: Mapping[str, str], reason: str, tmp_path: Path) -> None:
    """A tenant that the data names may not write, and the decision gives the reason; another one may."""
    with deciding(data, tmp_path) as url:
        assert decision(url, "archive")["reasons"] == [reason]
        assert decision(url, "archive")["allow"] is False
        assert decision(url, "desk")["allow"] is True
