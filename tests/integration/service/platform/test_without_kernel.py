"""Without the native kernel the service serves, PostgreSQL searches, and a warning and a metric report it."""

from __future__ import annotations

from pathlib import Path

from somabrain_client import MemoryClient
from tests.integration.service.issuer import Issuer
from tests.integration.service.metrics import series
from tests.integration.service.service_process import PYTHON, ServiceProcess, service

# Python's own way to make a module missing: None among the loaded ones.
SCRIPT = f"""#!{PYTHON}
import sys
sys.modules["somabrain_kernel"] = None
from somabrain_service.cli import main
sys.exit(main())
"""


async def test_missing_kernel_falls_back_to_postgresql_search(
    settings: dict[str, object], idp: Issuer, tmp_path: Path
) -> None:
    """A service whose Python lacks the kernel warns once, has the metric at 0, and recalls from PostgreSQL."""
    script = tmp_path / "somabrain-service"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    with service(tmp_path, settings, python=tmp_path / "python") as running:
        running.wait_until_ready()
        (warning,) = running.events("no search index")
        assert warning["level"] == "warning"
        assert "PostgreSQL" in str(warning["effect"])
        assert "pip install ./kernel" in str(warning["remedy"])
        async with MemoryClient(running.address, token=idp.token("without-kernel")) as client:
            await client.create_namespace("bees")
            await client.remember("bees", "Bees dance.")
            for _ in range(3):
                assert [hit.memory.text for hit in (await client.recall("bees", "dance")).hits] == ["Bees dance."]
        assert series(running, "somabrain_search_kernel") == 0.0
        assert series(running, "somabrain_search_index_namespaces") == 0.0


def test_kernel_metric_is_one_without_warning(brain: ServiceProcess) -> None:
    """A service that has the kernel has the metric at 1."""
    assert brain.events("no search index") == []
    assert series(brain, "somabrain_search_kernel") == 1.0
