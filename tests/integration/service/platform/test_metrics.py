"""The metrics for Prometheus: its linter finds no problem, and callers cannot create series."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from uuid import uuid4

import pytest

from devcluster.loopback.server_process import tool
from somabrain_client.errors import CallError
from tests.integration.service.conftest import Connect
from tests.integration.service.service_process import ServiceProcess


def series(exposition: str) -> set[str]:
    """The names with their labels."""
    return {line.rpartition(" ")[0] for line in exposition.splitlines() if line and not line.startswith("#")}


async def exercise(connect: Connect) -> None:
    """Make calls that succeed and calls that fail, with names that were never used before."""
    async with connect(uuid4().hex) as client:
        name = f"n-{uuid4().hex[:8]}"
        await client.create_namespace(name)
        memory = await client.remember(name, uuid4().hex, session=uuid4().hex, labels={uuid4().hex: "x"})
        await client.recall(name, memory.text)
        await client.forget(memory.name)
        failing: tuple[Callable[[], object], ...] = (
            lambda: client.get(f"namespaces/{name}/memories/{uuid4()}"),
            lambda: client.recall(f"n-{uuid4().hex[:8]}", "anything"),
        )
        for call in failing:
            with pytest.raises(CallError):
                await call()  # type: ignore[misc]
    async with connect(token=uuid4().hex) as client:
        with pytest.raises(CallError):
            await client.get_namespace(name)


def test_promtool_accepts_the_metrics(brain: ServiceProcess, connect: Connect) -> None:
    """Names, types, units and help texts follow the rules of Prometheus."""
    asyncio.run(exercise(connect))
    status, exposition = brain.get("/metrics")
    assert status == 200
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=exposition, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_callers_cannot_create_metric_series(brain: ServiceProcess, connect: Connect) -> None:
    """Tenants, namespaces, names and tokens never used before add no series to those of the first exercise."""
    await exercise(connect)
    before = series(brain.get("/metrics")[1])
    for _ in range(3):
        await exercise(connect)
    assert series(brain.get("/metrics")[1]) == before
