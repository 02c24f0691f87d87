"""One live line on a terminal; lines in a log that change only when the news does."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

QUIET_S = 10.0


@dataclass
class Line:
    """What is being waited for, how it stands, and for how long."""

    _started: float = field(default_factory=time.monotonic)
    _said: str = ""
    _said_at: float = 0.0

    def begin(self) -> None:
        """Start the clock of a new wait."""
        self._started, self._said, self._said_at = time.monotonic(), "", 0.0

    def say(self, news: str) -> None:
        """Show how it stands now."""
        now = time.monotonic()
        text = f"… {news} ({now - self._started:.0f} s)"
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns
            sys.stdout.write("\r\x1b[2K" + (text if len(text) < width else text[: width - 2] + "…"))
        elif (news != self._said and now - self._said_at > 1) or now - self._said_at > QUIET_S:
            sys.stdout.write(text + "\n")
            self._said_at = now
            self._said = news
        sys.stdout.flush()

    def done(self, news: str) -> None:
        """Leave a line that stays."""
        sys.stdout.write(("\r\x1b[2K" if sys.stdout.isatty() else "") + f"✓ {news}\n")
        sys.stdout.flush()


def wait(line: Line, what: str, state: Callable[[], tuple[bool, str]], timeout_s: float) -> bool:
    """Look at `state` each second until it holds, showing its words; return whether it held within `timeout_s`."""
    line.begin()
    deadline = time.monotonic() + timeout_s
    while True:
        holds, words = state()
        if holds:
            line.done(f"{what}: {words}")
            return True
        line.say(f"{what}: {words}")
        if time.monotonic() > deadline:
            sys.stdout.write("\n")
            return False
        time.sleep(1)
