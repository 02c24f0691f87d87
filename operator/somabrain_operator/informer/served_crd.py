"""CustomResourceDefinition as the API server serves it: it may be missing, or older than this operator."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from common.errors import ResourceExhausted, SomaBrainError, Unavailable
from somabrain_operator.api.crd import NAME, render_crd
from somabrain_operator.informer.watch_session import CRD_MISSING
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.kinds import BRAIN
from somabrain_operator.kube.objects import Json, at, items
from somabrain_operator.kube.schemas import declared_part, missing_fields

START_GRACE_S: Final = 45.0
"""Maximum wait for an API server that is starting; after it the operator exits and the kubelet restarts it."""
COMPARE_INTERVAL_S: Final = 60.0
_MAX_LISTED_FIELDS: Final = 5
"""Maximum fields that a message names; the others are counted."""
_log = structlog.stdlib.get_logger(__name__)


class ServedCrd:
    """The served CustomResourceDefinition, read by discovery, which every account may do."""

    def __init__(self, cluster: Cluster) -> None:
        """Assume a current one until it is read."""
        self._cluster = cluster
        self._schema: Json = None
        self._missing_fields: tuple[str, ...] = ()
        self._is_missing = False

    def outages(self) -> tuple[str, ...]:
        """Return a sentence if the kind is not served."""
        return (CRD_MISSING,) if self._is_missing else ()

    def degradations(self) -> tuple[str, ...]:
        """Return a sentence if the served definition is older than this operator."""
        if not self._missing_fields:
            return ()
        listed = ", ".join(self._missing_fields[:_MAX_LISTED_FIELDS])
        more = len(self._missing_fields) - _MAX_LISTED_FIELDS
        fields = f"{listed} and {more} more fields" if more > 0 else listed
        message = (
            f"The CustomResourceDefinition {NAME} is older than this operator: it lacks {fields}. They cannot be set, "
            "and statuses are written without them. Upgrade it with crd.install=true of the chart somabrain-operator, "
            "or apply crds/."
        )
        return (message,)

    async def wait_until_served(self) -> None:
        """Wait until the API server serves the kind, without a timeout as long as it answers.

        Raises:
            SomaBrainError: the API server did not become available within START_GRACE_S.
        """
        now = asyncio.get_running_loop().time
        deadline = now() + START_GRACE_S
        while True:
            try:
                if await self._is_served():
                    self._is_missing = False
                    return await self._try_compare()
                deadline = now() + START_GRACE_S
                if not self._is_missing:
                    self._is_missing = True
                    _log.warning("waiting for the CustomResourceDefinition", reason=CRD_MISSING)
            except (ResourceExhausted, Unavailable) as exc:
                if now() > deadline:
                    raise
                _log.warning("waiting for the API server", error=exc.message)
            await asyncio.sleep(1)

    async def _is_served(self) -> bool:
        """Return whether the kind is served and its group is listed: kopf reads both, and only at start."""
        served = BRAIN.kind in await self._cluster.served_kinds(BRAIN.group, BRAIN.version)
        return served and BRAIN.group in await self._cluster.served_groups()

    async def run(self) -> None:
        """Compare the served definition with this operator's periodically, until cancelled."""
        while True:
            await asyncio.sleep(COMPARE_INTERVAL_S)
            await self._try_compare()

    async def _try_compare(self) -> None:
        """Compare; a failure is only logged: an administrator may hide the schema, and no step needs it."""
        try:
            await self._compare()
        except SomaBrainError as exc:
            _log.warning("failed to read the schema of the CustomResourceDefinition", error=exc.message)

    async def _compare(self) -> None:
        schema = await self._cluster.served_schema(BRAIN)
        if not schema or schema == self._schema:
            return  # not served, which the refused watches report; or compared before
        (version,) = items(render_crd(), "spec", "versions")
        self._schema, previous = schema, self._missing_fields
        self._missing_fields = tuple(missing_fields(at(version, "schema", "openAPIV3Schema"), schema))
        if self._missing_fields != previous:
            message = next(iter(self.degradations()), f"The CustomResourceDefinition {NAME} is current.")
            _log.warning("the served CustomResourceDefinition has changed", reason=message)

    def declared_status(self, status: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return what of a status the served definition declares."""
        return declared_part(status, at(self._schema, "properties", "status")) if self._missing_fields else status
