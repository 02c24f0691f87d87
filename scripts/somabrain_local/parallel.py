"""Do several things at the same time, and stop at the first that fails."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait


def run_parallel(*tasks: Callable[[], object]) -> None:
    """Run `tasks` in threads of their own and return when all have ended.

    Raises:
        Exception: that of the first task that failed, at once; the command then
            ends, and with it whatever the others had started.
    """
    pool = ThreadPoolExecutor(len(tasks))
    running = [pool.submit(task) for task in tasks]
    done, _ = wait(running, return_when=FIRST_EXCEPTION)
    pool.shutdown(wait=False)
    for task in done:
        task.result()
