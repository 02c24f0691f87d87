"""Run programs: their output goes to a log or comes back, their failure is an error.

A started program never outlives the thread that started it (`setpriv
--pdeathsig`), so an interrupted build leaves nothing running.
"""

from __future__ import annotations

import fcntl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from somabrain_local.errors import CommandFailed, Timeout

Argv = Sequence[object]
TAIL_LINES = 15


def run(argv: Argv, *, log: Path | None = None, env: Mapping[str, str] | None = None, cwd: Path | None = None,
        stdin: str | None = None, timeout_s: float | None = None) -> str:  # fmt: skip
    """Run `argv` to its end and return its standard output (empty when it goes to `log`).

    Raises:
        CommandFailed: it ended with an error or ran past `timeout_s`.
    """
    guarded = ["setpriv", "--pdeathsig", "TERM", *map(str, argv)]
    source = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    try:
        if log is None:
            done = subprocess.run(
                guarded, capture_output=True, text=True, env=env, cwd=cwd, timeout=timeout_s, **source
            )
            output = done.stdout + done.stderr
        else:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("w") as file:
                done = subprocess.run(
                    guarded, stdout=file, stderr=file, text=True, env=env, cwd=cwd, timeout=timeout_s, **source
                )
            output = log.read_text(errors="replace") if done.returncode else ""
    except FileNotFoundError as error:
        raise CommandFailed(f"{error.filename} is not installed.") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"`{shown(argv)}` did not end within {timeout_s:g} s.") from error
    if done.returncode:
        where = f" (all of it in {log})" if log else ""
        tail = "\n".join(output.strip().splitlines()[-TAIL_LINES:])
        raise CommandFailed(f"`{shown(argv)}` ended with {done.returncode}{where}:\n{tail}")
    return done.stdout or ""


def succeeds(argv: Argv, *, timeout_s: float = 10) -> bool:
    """Return whether `argv` runs and ends without an error."""
    try:
        run(argv, timeout_s=timeout_s)
    except CommandFailed:
        return False
    return True


def shown(argv: Argv) -> str:
    """Return `argv` short enough for a message."""
    text = " ".join(map(str, argv))
    return text if len(text) <= 160 else text[:157] + "..."


def wait_until(condition: Callable[[], bool], *, what: str, timeout_s: float, every_s: float = 0.2) -> None:
    """Return as soon as `condition` holds.

    Raises:
        Timeout: it did not hold within `timeout_s`; the message is `what` and the time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise Timeout(f"{what} within {timeout_s:g} s.")
        time.sleep(every_s)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, waiting for another run that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
