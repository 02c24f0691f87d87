"""The profile `full` of soma-infra, by kubectl."""

from __future__ import annotations

import base64
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from examples.kubectl import Kubectl, run
from tests.e2e.support.database import INFRA

ROLLOUTS = (
    "deployment/redis",
    "statefulset/etcd",
    "statefulset/kafka",
    "deployment/auth",
    "deployment/vault",
    "deployment/otel-collector",
)
ISSUER = "http://auth.soma-infra.svc.cluster.local:8080/realms/somabrain"
TOPIC = "somabrain.changes"


@contextmanager
def full_profile(kubectl: Kubectl) -> Iterator[Platform]:
    """Give soma-infra the profile full, and only PostgreSQL again afterwards, without leftovers."""
    platform = Platform(kubectl)
    platform.helm("upgrade", "--install", INFRA, "helm/charts/soma-infra", "--set", "profile=minimal")
    before = platform.created_objects()
    platform.helm("upgrade", "--install", INFRA, "helm/charts/soma-infra", "--set", "profile=full")
    try:
        for workload in ROLLOUTS:
            kubectl("rollout", "status", "-n", INFRA, workload, "--timeout=600s", timeout_s=610)
        yield platform
    finally:
        platform.helm("upgrade", INFRA, "helm/charts/soma-infra", "--set", "profile=minimal")
        kubectl("delete", "pvc", "-n", INFRA, "data-etcd-0", "data-kafka-0", "--wait=false", "--ignore-not-found")
    assert platform.created_objects() == before, "what the profile full made is not all gone"


@dataclass(frozen=True, slots=True)
class Platform:
    """The platform's components, each queried by its own interface."""

    kubectl: Kubectl

    def helm(self, *words: str) -> str:
        """Run helm in the release's namespace and return what it printed."""
        return run("helm", *words, "-n", INFRA, "--kubeconfig", str(self.kubectl.kubeconfig), timeout_s=900)

    def created_objects(self) -> set[str]:
        """Return kind and name of all objects of the release, including cluster-scoped ones."""
        kinds = "deployments,statefulsets,services,configmaps,secrets,serviceaccounts,roles,rolebindings"
        ours = ("-l", "app.kubernetes.io/part-of=soma-infra", "--output=name")
        cluster_scoped = ("get", "clusterroles,clusterrolebindings", *ours)
        return {*self.kubectl("get", kinds, "-n", INFRA, *ours).split(), *self.kubectl(*cluster_scoped).split()}

    def token(self, client: str) -> str:
        """Return a token of one of the test clients, for its credentials."""
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": f"{client}-secret"}
        return str(self._auth("token", form)["access_token"])

    def revoke(self, client: str, token: str) -> None:
        """Revoke a token."""
        self._auth("revoke", {"token": token, "client_id": client, "client_secret": f"{client}-secret"})

    def redis(self, *words: str) -> str:
        """Return the output of redis-cli in Redis' own pod."""
        return self.kubectl("exec", "-n", INFRA, "deployment/redis", "--", "redis-cli", "--no-auth-warning", *words)

    def cache_hits(self) -> int:
        """Return the number of cache hits of Redis since it started."""
        lines = self.redis("info", "stats").splitlines()
        (hits,) = (line.removeprefix("keyspace_hits:") for line in lines if line.startswith("keyspace_hits:"))
        return int(hits)

    def events(self) -> list[dict[str, Any]]:
        """Return all events of the topic, in order for each source."""
        consume = (
            "PATH=$PATH:/opt/kafka/bin; KAFKA_HEAP_OPTS=-Xmx128m kafka-console-consumer.sh --from-beginning "
            f"--bootstrap-server localhost:9092 --topic {TOPIC} --timeout-ms 10000 2>/dev/null || true"
        )
        printed = self.kubectl("exec", "-n", INFRA, "kafka-0", "--", "/bin/sh", "-c", consume, timeout_s=120)
        return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]

    def collector_log(self) -> str:
        """Return the log of the collector, which prints everything that it receives."""
        return self.kubectl("logs", "-n", INFRA, "deployment/otel-collector", "--tail=-1")

    def spans(self, pod: str) -> set[str]:
        """Return the names of all spans that the collector received from a pod."""
        sent = (
            each for each in self.collector_log().split("ResourceSpans #") if f"service.instance.id: Str({pod}-" in each
        )
        lines = (line.strip() for each in sent for line in each.splitlines())
        return {line.partition(":")[2].strip() for line in lines if line.startswith("Name  ")}

    def _auth(self, endpoint: str, form: dict[str, str]) -> dict[str, Any]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with self.kubectl.forward(INFRA, "service/auth", 8080) as address:
            url = f"http://{address}/realms/somabrain/protocol/openid-connect/{endpoint}"
            with opener.open(url, urllib.parse.urlencode(form).encode(), timeout=60) as response:
                text = response.read()
        return dict(json.loads(text)) if text else {}


def life_left_s(token: str) -> float:
    """Return for how many more seconds a token is valid, by its claims."""
    body = token.split(".")[1]
    return float(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"] - time.time())
