"""Health of the memory service, by its standard gRPC health service."""

from __future__ import annotations

import asyncio
import time

import grpc
import grpc.aio
import structlog

from common.health import HealthCheck
from somabrain_client.tls import Tls
from somabrain_client.transport import CHANNEL_OPTIONS, target

PROBE_INTERVAL_S = 5.0
PROBE_TIMEOUT_S = 2.0
METHOD = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"
"""A HealthCheckResponse whose status is SERVING; the request, for the whole server, is an empty message."""

_log = structlog.stdlib.get_logger(__name__)


class ServiceHealth:
    """Probes the service; an async context manager, which owns a separate channel."""

    def __init__(self, address: str, tls: Tls | None) -> None:
        self._channel = (
            grpc.aio.insecure_channel(target(address), options=CHANNEL_OPTIONS)
            if tls is None
            else grpc.aio.secure_channel(target(address), tls.credentials(), options=CHANNEL_OPTIONS)
        )
        self._check = HealthCheck(False, "The memory service has not been probed yet.")

    async def __aenter__(self) -> ServiceHealth:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    def last_check(self) -> HealthCheck:
        """Return the result of the last probe."""
        return self._check

    async def watch(self) -> None:
        """Probe every `PROBE_INTERVAL_S`, until cancelled."""
        while True:
            await self.probe()
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def probe(self) -> None:
        """Probe the service now."""
        started = time.monotonic()
        check = self._channel.unary_unary(METHOD, request_serializer=bytes, response_deserializer=bytes)
        try:
            response = await check(b"", timeout=PROBE_TIMEOUT_S)
        except grpc.aio.AioRpcError as exc:
            self._record(HealthCheck(False, f"The memory service does not answer ({exc.code().name})."))
            return
        if response == SERVING:
            self._record(HealthCheck(True, "The memory service is serving.", time.monotonic() - started))
        else:
            self._record(HealthCheck(False, "The memory service is not ready; its own /ready has the reason."))

    def _record(self, check: HealthCheck) -> None:
        if check.reason != self._check.reason:
            (_log.info if check.ok else _log.warning)("memory service", reason=check.reason)
        self._check = check
