"""A replica that hangs: its connections stay open, and no response arrives."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from somabrain_client import MemoryClient
from somabrain_client.base_client import DEFAULT_DEADLINE_S
from tests.integration.service.issuer import Issuer
from tests.integration.service.namespaces import unique
from tests.integration.service.service_process import service

CALLERS = 4
AT_ONCE_S = 2.0


async def test_calls_fail_over_from_a_hung_replica(folder: Path, settings: dict[str, object], idp: Issuer) -> None:
    """No call and no watch fails, and once the hang is detected no further call waits for it."""
    with service(folder, settings) as first, service(folder, settings) as second:
        for each in (first, second):
            each.wait_until_ready()
        ports = ",".join(each.address for each in (first, second))
        async with MemoryClient(f"ipv4:{ports}", token=idp.token("silent")) as client:
            namespace = (await client.create_namespace(unique())).name
            for number in range(8):  # both replicas are connected
                await client.remember(namespace, f"before {number}")
            first.process.send_signal(signal.SIGSTOP)
            try:
                started = time.monotonic()
                await asyncio.gather(*(client.remember(namespace, f"meanwhile {i}") for i in range(CALLERS)))
                assert time.monotonic() - started < DEFAULT_DEADLINE_S
                started = time.monotonic()
                await asyncio.gather(*(client.remember(namespace, f"after {i}") for i in range(CALLERS)))
                assert time.monotonic() - started < AT_ONCE_S
            finally:
                first.process.send_signal(signal.SIGCONT)
            texts = [memory.text async for memory in client.list(namespace)]
    assert len(texts) == len(set(texts)) == 8 + 2 * CALLERS
