"""The endpoints for machines: health, reflection, liveness, readiness and metrics."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from prometheus_client.parser import text_string_to_metric_families

from common.config.settings import DatabaseSettings
from somabrain_service.admin.embedded_postgres import embedded_database
from tests.integration.service.service_process import ServiceProcess, run, service

SERVED = {"somabrain.memory.v1.MemoryService", "somabrain.memory.v1.NamespaceService"}
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health(address: str, name: str = "") -> int:
    async with grpc.aio.insecure_channel(address) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
    return int(answer.status)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_the_services(brain: ServiceProcess, version: str) -> None:
    """Reflection needs no token and answers under both names that clients use."""
    async with grpc.aio.insecure_channel(brain.address) as channel:
        ask = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        call = ask(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        listed = [item.name async for answer in call for item in answer.list_services_response.service]
    assert set(listed) >= {*SERVED, "grpc.health.v1.Health"}


@pytest.mark.parametrize("name", ["", *sorted(SERVED)])
async def test_grpc_health_is_serving_when_ready(brain: ServiceProcess, name: str) -> None:
    assert await health(brain.address, name) == SERVING


def test_every_probe_responds(brain: ServiceProcess) -> None:
    assert brain.get("/livez")[0] == 200
    assert brain.get("/ready")[0] == 200
    status, body = brain.get("/healthz")
    assert status == 200
    assert json.loads(body)["checks"]["postgres"]["latency_ms"] > 0


def test_metrics_are_prometheus_text(brain: ServiceProcess) -> None:
    families = {family.name: family for family in text_string_to_metric_families(brain.get("/metrics")[1])}
    assert {"grpc_server_handled", "grpc_server_handling_seconds", "process_cpu_seconds"} <= families.keys()
    assert [sample.value for sample in families["somabrain_ready"].samples] == [1.0]
    assert sum(sample.value for sample in families["somabrain_store_connections"].samples) >= 1


async def test_readiness_follows_postgresql_and_schema(folder: Path, settings: dict[str, object]) -> None:
    """The service is always live, and ready exactly while PostgreSQL is up and migrated; /ready gives the reason."""
    data_dir = folder / "late"
    with embedded_database(data_dir, DatabaseSettings()) as database:
        app, owner = database.app_dsn, database.owner_dsn
    with service(folder, {**settings, "postgres_dsn": app}) as running:
        assert running.get("/livez")[0] == 200
        running.wait_until_ready(ready=False, containing="PostgreSQL cannot be reached")
        assert "No such file" in running.get("/ready")[1]
        assert running.get("/healthz")[0] == 503
        assert await health(running.address) == NOT_SERVING
        with embedded_database(data_dir, DatabaseSettings()):
            running.wait_until_ready(ready=False, containing="no schema yet: run `somabrain-service migrate`")
            assert running.get("/healthz")[0] == 200
            assert run({"owner_dsn": owner}, "migrate").returncode == 0
            running.wait_until_ready()
            assert await health(running.address) == SERVING
        running.wait_until_ready(ready=False, containing="PostgreSQL cannot be reached")
        assert running.get("/livez")[0] == 200
        assert await health(running.address) == NOT_SERVING
        with embedded_database(data_dir, DatabaseSettings()):
            running.wait_until_ready()
