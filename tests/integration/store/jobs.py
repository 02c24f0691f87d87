"""Background jobs, run by a test instead of the service."""

from __future__ import annotations

from somabrain_service.background.job import BatchResult, Job
from somabrain_service.store.maintenance import MaintenanceStore


async def run_until_done(worker: Job, maintenance: MaintenanceStore) -> list[BatchResult]:
    """Run a job until nothing is left to do, and return the results of its runs."""
    rounds = [await worker.run_once(maintenance)]
    while rounds[-1].has_more:
        rounds.append(await worker.run_once(maintenance))
    return rounds
