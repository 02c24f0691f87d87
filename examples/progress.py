"""Progress output: one updated line on a terminal; in a log, new lines only when the status changes."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

QUIET_S = 10.0


@dataclass
class Line:
    """Progress line with status and elapsed time."""

    _started: float = field(default_factory=time.monotonic)
    _last_status: str = ""
    _last_printed_at: float = 0.0

    def begin(self) -> None:
        """Restart the elapsed time."""
        self._started, self._last_status, self._last_printed_at = time.monotonic(), "", 0.0

    def update(self, status: str) -> None:
        """Show the current status."""
        now = time.monotonic()
        text = f"… {status} ({now - self._started:.0f} s)"
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns
            sys.stdout.write("\r\x1b[2K" + (text if len(text) < width else text[: width - 2] + "…"))
        elif (status != self._last_status and now - self._last_printed_at > 1) or now - self._last_printed_at > QUIET_S:
            sys.stdout.write(text + "\n")
            self._last_printed_at = now
            self._last_status = status
        sys.stdout.flush()

    def finish(self, status: str) -> None:
        """Print the final status on a line of its own."""
        sys.stdout.write(("\r\x1b[2K" if sys.stdout.isatty() else "") + f"✓ {status}\n")
        sys.stdout.flush()


def wait(line: Line, what: str, state: Callable[[], tuple[bool, str]], timeout_s: float) -> bool:
    """Poll `state` every second and show its text; return True once it is done, False after `timeout_s`."""
    line.begin()
    deadline = time.monotonic() + timeout_s
    while True:
        done, words = state()
        if done:
            line.finish(f"{what}: {words}")
            return True
        line.update(f"{what}: {words}")
        if time.monotonic() > deadline:
            sys.stdout.write("\n")
            return False
        time.sleep(1)
