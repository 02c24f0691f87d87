"""Server-side apply of an object with an unknown field is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import kopf
import pytest

from common.errors import Unavailable
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.transport import credentials, open_transport
from somabrain_operator.metrics import Metrics
from tests.integration.operator.api import Api

NONSENSE: dict[str, dict[str, Any]] = {
    "ConfigMap": {"apiVersion": "v1", "nonsense": 1},
    "Deployment": {
        "apiVersion": "apps/v1",
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "server", "image": "server", "nonsense": 1}]},
            },
        },
    },
}


@pytest.fixture
async def cluster(account: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setenv("KUBECONFIG", str(account))
    async with open_transport(lambda: credentials(kopf.OperatorSettings())) as opened:
        yield Cluster(opened, Metrics().count_write)


@pytest.mark.parametrize("kind", NONSENSE)
async def test_server_side_apply_rejects_unknown_field(cluster: Cluster, api: Api, namespace: str, kind: str) -> None:
    """An unknown field is refused, not dropped silently, although no validation of fields is requested."""
    manifest = {"kind": kind, "metadata": {"name": "x", "namespace": namespace}, **NONSENSE[kind]}
    with pytest.raises(Unavailable, match=r"nonsense: field not declared in schema"):
        await cluster.apply(manifest)
    with pytest.raises(KeyError):
        api.get(kind, "x", namespace)
