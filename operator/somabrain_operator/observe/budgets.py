"""PodDisruptionBudgets of others, read by a list: only those with the operator's label are watched."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog

from common.errors import SomaBrainError
from somabrain_operator.kube import names
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.kinds import CHILDREN
from somabrain_operator.kube.objects import Manifest, at, text
from somabrain_operator.observe.state import OtherBudget, OtherBudgets

BUDGET: Final = CHILDREN["PodDisruptionBudget"]
_log = structlog.stdlib.get_logger(__name__)


class BudgetLister:
    """Lister that reads a namespace at most once per interval, and only when a reconcile requests it.

    So it sends one request per resync in the steady state, however many SomaBrains a namespace has.
    """

    def __init__(self, cluster: Cluster, max_age_s: float) -> None:
        """Return what a list returned for `max_age_s` seconds before listing again."""
        self._cluster = cluster
        self._max_age_s = max_age_s
        self._lists: dict[str, tuple[float, asyncio.Task[OtherBudgets]]] = {}

    async def list(self, namespace: str) -> OtherBudgets:
        """Return the budgets of others in a namespace; concurrent calls share one request."""
        now_s = time.monotonic()
        self._lists = {name: each for name, each in self._lists.items() if now_s - each[0] < self._max_age_s}
        if namespace not in self._lists:
            self._lists[namespace] = now_s, asyncio.create_task(self._list(namespace))
        return await asyncio.shield(self._lists[namespace][1])

    async def _list(self, namespace: str) -> OtherBudgets:
        try:
            manifests = await self._cluster.list(BUDGET, namespace, {})
        except SomaBrainError as exc:
            _log.warning("failed to list PodDisruptionBudgets", namespace=namespace, error=exc.message)
            return OtherBudgets(failure=exc.message)
        return OtherBudgets(tuple(_other(each) for each in manifests if not _is_ours(each)))


def _is_ours(manifest: Manifest) -> bool:
    return text(manifest, "metadata", "labels", "app.kubernetes.io/managed-by") == names.MANAGER


def _other(manifest: Manifest) -> OtherBudget:
    return OtherBudget(text(manifest, "metadata", "name"), at(manifest, "spec", "selector"))
