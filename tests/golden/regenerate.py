"""Writes the golden manifests: `.venv/bin/python tests/golden/regenerate.py`. Then read the diff."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from somabrain_operator.api.v1alpha1.database import Provision
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube.children import last_applied_id
from somabrain_operator.kube.names import child_id
from somabrain_operator.observe.parse import with_provisioned_secret
from somabrain_operator.render.migration import render_migration_job
from somabrain_operator.render.provision import render_drop_job, render_job_network_policy, render_provision_job
from tests.unit.operator import samples

FOLDER = Path(__file__).parent
CASES: Mapping[str, Mapping[str, Any]] = {
    "quickstart": {},
    "vault": {
        "database": None,
        "migration": {},
        "vault": {
            "address": "http://vault.soma-infra.svc:8200",
            "role": "brain",
            "secrets": [
                {"path": "secret/data/brain", "key": "app", "file": "SOMABRAIN_POSTGRES_DSN"},
                {"path": "secret/data/brain", "key": "worker", "file": "SOMABRAIN_WORKER_DSN"},
                {"path": "secret/data/owner", "key": "dsn", "file": "SOMABRAIN_OWNER_DSN"},
            ],
        },
        "auth": {
            "mode": "introspection",
            "issuer": "https://auth.example/realms/somabrain",
            "introspection": {
                "address": "https://auth.example",
                "secretRef": {"name": "auth-client"},
                "caSecretRef": {"name": "auth-ca"},
            },
        },
        "cache": {"url": "redis+cluster://redis-0:6379,redis-1:6379"},
        "opa": {"enabled": False, "url": "https://opa.example/v1/data/sb/policy"},
    },
    "mcp": {
        "auth": {
            "issuer": "https://issuer.example",
            "jwksUrl": "https://issuer.example:8443/keys",
            "tenantClaim": "/tenant",
            "scopeClaim": "/scope",
        },
        "grpc": {"tls": {"secretRef": {"name": "certificate"}, "clientCa": True}},
        "networkPolicy": {"clients": [{"podLabels": {"role": "agent"}}]},
        "mcp": {
            "resourceUrl": "https://memory.example/v1/mcp",
            "exchange": {
                "url": "http://keycloak.auth:9080/token",
                "secretRef": {"name": "mcp-client"},
                "audience": "somabrain",
                "caSecretRef": {"name": "issuer-ca"},
            },
            "replicas": 2,
            "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}},
            "port": 9000,
            "namespace": "notes",
            "allowedHosts": ["memory.internal:9000"],
            "allowedOrigins": ["https://app.example"],
            "tls": {"caSecretRef": {"name": "service-ca"}, "clientSecretRef": {"name": "mcp-certificate"}},
            "drainSeconds": 40,
            "secretRefs": [{"name": "more-of-mcp"}],
            "configMapRefs": [{"name": "plain-of-mcp"}],
            "service": {"type": "LoadBalancer", "annotations": {"balancer.example/internal": "true"}},
            "networkPolicy": {
                "clients": [{"namespaceLabels": {"team": "gateways"}}],
                "scrapers": [{"namespaceLabels": {}}],
                "egressPorts": [4317],
            },
            "podDisruptionBudget": {},
        },
    },
    "mcp-one-resource": {
        "auth": {
            "mode": "introspection",
            "issuer": "https://auth.example/realms/somabrain",
            "introspection": {
                "address": "https://auth.example",
                "secretRef": {"name": "auth-client"},
                "caSecretRef": {"name": "auth-ca"},
            },
        },
        "mcp": {"resourceUrl": "http://memory.example/mcp", "sameResource": True, "networkPolicy": {}},
    },
    "everything": {
        "image": "registry.example/team/brain@sha256:" + "0" * 64,
        "replicas": 3,
        "resources": {"requests": {"cpu": 2, "memory": "2Gi"}, "limits": {"cpu": "4", "memory": "4Gi"}},
        "config": {
            "logLevel": "debug",
            "encoder": {
                "kind": "lexical",
                "minilm": True,
                "threads": 4,
                "onnx": [{"id": "bge", "directory": "/models/bge", "pooling": "cls"}],
                "endpoints": [
                    {
                        "id": "nomic",
                        "url": "https://embeddings.example/v1/embeddings",
                        "model": "nomic-embed-text",
                        "dimensions": 768,
                        "secretRef": {"name": "embeddings"},
                        "timeoutSeconds": 3,
                    }
                ],
                "client": [{"id": "ours", "dimensions": 1024}],
            },
            "drainSeconds": 60,
        },
        "auth": {
            "issuer": "https://issuer.example",
            "audience": "brains",
            "jwksUrl": "https://issuer.example/keys",
            "tenantClaim": "/tenant",
            "scopeClaim": "/scope",
        },
        "cache": {"secretRef": {"name": "redis"}, "ttlSeconds": 60, "tls": {"caSecretRef": {"name": "redis-ca"}}},
        "flags": {
            "endpoints": ["https://etcd-0:2379", "https://etcd-1:2379"],
            "prefix": "/team/flags",
            "secretRef": {"name": "etcd-login"},
            "tls": {"caSecretRef": {"name": "etcd-ca"}, "clientSecretRef": {"name": "etcd-client"}},
        },
        "events": {
            "brokers": ["kafka-0:9093"],
            "topic": "team.changes",
            "tls": {"caSecretRef": {"name": "kafka-ca"}},
            "sasl": {"secretRef": {"name": "kafka-login"}},
        },
        "migration": {
            "database": {"secretRef": {"name": "owner"}},
            "backoffLimit": 0,
            "activeDeadlineSeconds": 60,
            "ttlSecondsAfterFinished": 600,
        },
        "opa": {
            "image": "registry.example/opa:1",
            "policy": {"configMapRef": {"name": "rules"}},
            "resources": {"limits": {"memory": "1Gi"}},
        },
        "imagePullSecrets": [{"name": "registry"}, {"name": "mirror"}],
        "grpc": {"port": 8443, "tls": {"secretRef": {"name": "certificate"}, "clientCa": True}},
        "secretRefs": [{"name": "more"}],
        "configMapRefs": [{"name": "plain"}],
        "vault": {
            "image": "registry.example/vault:1",
            "address": "https://vault.example:8200",
            "namespace": "team",
            "role": "brain",
            "caSecretRef": {"name": "vault-ca"},
            "version": "7",
            "secrets": [{"path": "secret/data/brain", "key": "level", "file": "SOMABRAIN_TRACE__ENDPOINT"}],
        },
        "service": {"type": "LoadBalancer", "annotations": {"balancer.example/internal": "true"}},
        "podDisruptionBudget": {"maxUnavailable": 2},
        "autoscaling": {"min": 2, "max": 6, "cpu": 70},
        "networkPolicy": {
            "clients": [{"namespaceLabels": {"team": "agents"}, "podLabels": {"role": "agent"}}],
            "scrapers": [{"namespaceLabels": {}}],
        },
        "topologySpread": {
            "topologyKey": "topology.kubernetes.io/zone",
            "maxSkew": 2,
            "whenUnsatisfiable": "DoNotSchedule",
        },
        "scheduling": {
            "nodeSelector": {"disk": "fast"},
            "tolerations": [
                {"key": "memory", "value": "brains", "effect": "NoSchedule"},
                {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
            ],
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}]
                    }
                },
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 10,
                            "podAffinityTerm": {
                                "labelSelector": {"matchLabels": {"app": "postgresql"}},
                                "topologyKey": "kubernetes.io/hostname",
                            },
                        }
                    ]
                },
            },
            "priorityClassName": "memories",
        },
        "monitoring": {
            "serviceMonitor": {"intervalSeconds": 15, "labels": {"release": "prometheus"}},
            "rules": {"labels": {"release": "prometheus"}, "errorPercent": 1, "slowMilliseconds": 300},
            "dashboard": {},
        },
        "probes": {
            "startupSeconds": 600,
            "livenessPeriodSeconds": 20,
            "livenessFailures": 5,
            "readinessPeriodSeconds": 3,
            "readinessFailures": 4,
            "timeoutSeconds": 10,
        },
    },
}


def manifests(fields: Mapping[str, Any]) -> str:
    """Return all manifests that are applied for a spec, the migration's Job first."""
    spec = samples.spec(**fields)
    before = samples.plan(samples.observed(spec))
    jobs = [manifest for manifest in before.apply if manifest["kind"] == "Job"]
    assert before.migration is not None
    done = samples.migrated(before.migration.hash or "")
    after = samples.plan(samples.observed(spec, status=done))
    pinned = [
        each for each in after.apply if child_id(each) != last_applied_id(samples.KEY.name)
    ]  # it says the same again
    return yaml.safe_dump_all([*jobs, *pinned], sort_keys=False, width=120, allow_unicode=True)


def provisioning() -> str:
    """Return the Jobs that make and drop a database, and the objects that differ with `spec.database.provision`."""
    source = {"adminSecretRef": {"name": "admin"}, "deletionPolicy": "Delete"}
    spec = with_provisioned_secret(
        samples.KEY,
        SomaBrainSpec.model_validate(
            {
                "database": {"provision": source},
                "networkPolicy": {},
                "configMapRefs": [{"name": "authorities"}],
            }
        ),
    )
    provision = Provision.model_validate(source)
    fingerprint = "0123456789abcdef"
    job = render_provision_job(
        samples.OWNER,
        spec,
        provision,
        image=samples.IMAGE,
        name=f"quickstart-provision-{fingerprint[:8]}-1",
        fingerprint=fingerprint,
    )
    migration = render_migration_job(
        samples.OWNER, spec, image=samples.IMAGE, vault_image="", fingerprint=fingerprint, attempt=1
    )
    pinned = [job, render_drop_job(job), render_job_network_policy(samples.OWNER), migration]
    return yaml.safe_dump_all(pinned, sort_keys=False, width=120, allow_unicode=True)


def main() -> None:
    """Write the golden file of every case."""
    (FOLDER / "provision.yaml").write_text(provisioning(), encoding="utf-8")
    for name, fields in CASES.items():
        (FOLDER / f"{name}.yaml").write_text(manifests(fields), encoding="utf-8")


if __name__ == "__main__":
    main()
