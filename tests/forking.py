"""A forked process for tests, which never outlives them."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable

LIMIT_S = 5


def error_in_fork(function: Callable[[], object]) -> str:
    """Run a function in a forked process; return the message of its RuntimeError, "" if it ended without any error.

    Raises:
        AssertionError: the process did not end within five seconds, crashed, or raised another error.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # Python 3.12 warns of a fork beside threads: that is tested
        process_id = os.fork()
    if process_id == 0:
        _run_and_exit(function, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        message = pipe.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
    assert status != -signal.SIGALRM, f"the forked process did not end within {LIMIT_S} s"
    assert status == 0, f"the forked process ended with {status}: {message}"
    return message


def _run_and_exit(function: Callable[[], object], writer: int) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LIMIT_S)
    status = 0
    try:
        function()
    except RuntimeError as exc:
        os.write(writer, str(exc).encode())
    except BaseException as exc:  # noqa: BLE001 - the process must end here and not in pytest
        os.write(writer, repr(exc).encode())
        status = 1
    os._exit(status)
