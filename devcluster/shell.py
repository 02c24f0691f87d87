"""Execution of programs: output is logged or returned, failure raises.

A program never outlives the thread that started it (`setpriv --pdeathsig`), so
an interrupted build leaves no process running.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from devcluster.errors import CommandFailed, Timeout

Argv = Sequence[object]
TAIL_LINES = 15


def run(
    argv: Argv,
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float | None = None,
) -> str:
    """Run `argv` to completion and return its standard output (empty if it goes to `log`).

    Raises:
        CommandFailed: it exited with an error or exceeded `timeout_s`.
    """
    guarded = ["setpriv", "--pdeathsig", "TERM", *map(str, argv)]
    with ExitStack() as stack:
        if log:
            log.parent.mkdir(parents=True, exist_ok=True)
            output = errors = stack.enter_context(log.open("w+"))
        else:
            output, errors = (stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(2))
        try:
            done = subprocess.run(
                guarded,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=env,
                cwd=cwd,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(f"`{abbreviated(argv)}` did not end within {timeout_s} s.") from error
        if done.returncode:
            errors.seek(0)
            where = f" (full output in {log})" if log else ""
            tail = "\n".join(errors.read().strip().splitlines()[-TAIL_LINES:])
            raise CommandFailed(f"`{abbreviated(argv)}` exited with {done.returncode}{where}:\n{tail}")
        output.seek(0)
        return "" if log else output.read()


def succeeds(argv: Argv, *, timeout_s: float = 10) -> bool:
    """Return whether `argv` exits with status 0 within `timeout_s`."""
    try:
        run(argv, timeout_s=timeout_s)
    except CommandFailed:
        return False
    return True


def abbreviated(argv: Argv) -> str:
    """Return `argv` as text, shortened to 160 characters for messages."""
    text = " ".join(map(str, argv))
    return text if len(text) <= 160 else text[:157] + "..."


def wait_until(condition: Callable[[], bool], *, what: str, timeout_s: float, every_s: float = 0.2) -> None:
    """Return as soon as `condition` is true.

    Raises:
        Timeout: it was not true within `timeout_s`; the message is `what` and the time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise Timeout(f"{what} within {timeout_s:g} s.")
        time.sleep(every_s)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the file `path` for the block, waiting while another run has it locked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"  waiting for another run that has {path.name} locked", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
