"""Parallel execution that stops at the first failure."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait


def run_parallel(*tasks: Callable[[], object]) -> None:
    """Run each task in its own thread and return when all have ended.

    Raises:
        Exception: raised by the first task that failed, immediately; the command
            then ends, and with it everything the other tasks had started.
    """
    pool = ThreadPoolExecutor(len(tasks))
    running = [pool.submit(task) for task in tasks]
    done, _ = wait(running, return_when=FIRST_EXCEPTION)
    pool.shutdown(wait=False)
    for task in done:
        task.result()
