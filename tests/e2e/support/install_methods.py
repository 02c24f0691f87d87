"""Two ways to install a memory service on the whole platform: a SomaBrain for the operator, and the chart `sb`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from examples.kubectl import Kubectl, run
from tests.e2e.support.brains import Brain
from tests.e2e.support.database import INFRA
from tests.e2e.support.platform import ISSUER

CACHED_S = 5
"""Longest time for which a token's answer is cached."""
DATABASE = "secret/data/somabrain/database"
VAULT: Mapping[str, Any] = {
    "address": f"http://vault.{INFRA}.svc:8200",
    "role": "somabrain",
    "secrets": [
        {"path": DATABASE, "key": "app-dsn", "file": "SOMABRAIN_POSTGRES_DSN"},
        {"path": DATABASE, "key": "worker-dsn", "file": "SOMABRAIN_WORKER_DSN"},
        {"path": DATABASE, "key": "owner-dsn", "file": "SOMABRAIN_OWNER_DSN"},
    ],
}
FLAGS, BROKERS = [f"http://etcd.{INFRA}.svc:2379"], [f"kafka.{INFRA}.svc:9092"]
REFERENCES = ("cache", "tracing")
CLIENT = "client"


def install_by_operator(brain: Brain) -> None:
    """Apply a SomaBrain that refers to each component, and wait until it is Ready."""
    brain.kubectl.copy_secret("somabrain-auth", INFRA, brain.namespace)
    brain.kubectl.apply(
        brain.namespace,
        brain.manifest(
            {
                "vault": VAULT,
                "auth": {
                    "mode": "introspection",
                    "issuer": ISSUER,
                    "tenantClaim": "/tenant",
                    "scopeClaim": "/scope",
                    "cacheSeconds": CACHED_S,
                    "introspection": {"secretRef": {"name": "somabrain-auth"}},
                },
                "flags": {"endpoints": FLAGS, "prefix": prefix(brain)},
                "events": {"brokers": BROKERS},
                "secretRefs": [{"name": REFERENCES[0]}],
                "configMapRefs": [{"name": REFERENCES[1]}],
            }
        ),
    )
    asyncio.run(brain.ready(timeout_s=300))


def install_by_chart(brain: Brain) -> None:
    """Install the chart with values that refer to each component, and wait for its pods as helm does."""
    credentials = brain.kubectl.get(INFRA, "secret", "somabrain-auth")["data"]
    client = {
        "SOMABRAIN_AUTH__INTROSPECTION__CLIENT_ID": credentials["client-id"],
        "SOMABRAIN_AUTH__INTROSPECTION__CLIENT_SECRET": credentials["client-secret"],
    }
    brain.kubectl.apply(
        brain.namespace, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": CLIENT}, "data": client}
    )
    values = {
        "vault": {"enabled": True, **VAULT},
        "database": {"secretName": ""},
        "migration": {"secretName": ""},
        "settings": {
            "auth": {
                "mode": "introspection",
                "issuer": ISSUER,
                "tenant_claim": "/tenant",
                "scope_claim": "/scope",
                "cache_s": CACHED_S,
            },
            "flags": {"endpoints": json.dumps(FLAGS), "prefix": prefix(brain)},
            "events": {"brokers": json.dumps(BROKERS), "source": f"/somabrain/{brain.namespace}/{brain.name}"},
        },
        "secretRefs": [REFERENCES[0], CLIENT],
        "configMapRefs": [REFERENCES[1]],
    }
    run(
        "helm",
        "install",
        brain.name,
        "helm/charts/sb",
        "-n",
        brain.namespace,
        "--values",
        "-",
        "--wait",
        "--timeout",
        "5m",
        "--kubeconfig",
        str(brain.kubectl.kubeconfig),
        stdin=json.dumps(values),
        timeout_s=310,
    )


INSTALL_METHODS: Mapping[str, Callable[[Brain], None]] = {"operator": install_by_operator, "chart": install_by_chart}


def prefix(brain: Brain) -> str:
    """Return the prefix of its flags in etcd."""
    return f"/{brain.namespace}/flags"


def prepare(kubectl: Kubectl, namespace: str) -> None:
    """Create a namespace with everything that both ways refer to, without a Secret of the database."""
    kubectl.ensure_namespace(namespace)
    kubectl("label", "namespace", namespace, "e2e=true")
    cache = kubectl.get(INFRA, "secret", "somabrain-redis")["data"]["url"]
    tracing = {
        "SOMABRAIN_TRACE__ENDPOINT": f"http://otel-collector.{INFRA}.svc:4318",
        "SOMABRAIN_TRACE__SAMPLE_RATIO": "1",
    }
    secret, plain = ({"name": name} for name in REFERENCES)
    kubectl.apply(
        namespace,
        {"apiVersion": "v1", "kind": "Secret", "metadata": secret, "data": {"SOMABRAIN_CACHE__URL": cache}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": plain, "data": tracing},
    )
