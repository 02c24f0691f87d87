"""Progress output: each step with its last duration, and a heartbeat.

Steps may run in parallel threads. Everything goes to standard error, so that a
program can parse a command's standard output.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HEARTBEAT_AFTER_S = 2.0
HEARTBEAT_EVERY_S = 10.0


def format_duration(seconds: float) -> str:
    """Format a duration for people: tenths below ten seconds, then seconds, then minutes."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, remaining = divmod(round(seconds), 60)
    return f"{minutes} min {remaining:02d} s" if minutes else f"{remaining} s"


@dataclass
class Progress:
    """Prints steps and stores their durations in `durations_file`, a JSON file."""

    durations_file: Path
    _running: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Print the start of the step `what` (its key in the durations file), and its end with the elapsed time."""
        before = self._load_durations().get(what)
        self._print(f"→ {what}" + (f" ({format_duration(before)} last time)" if before is not None else ""))
        started = time.monotonic()
        with self._lock:
            self._running[what] = started
        try:
            yield
        except BaseException:
            self._print(f"✗ {what}: stopped after {format_duration(time.monotonic() - started)}")
            raise
        else:
            elapsed_s = time.monotonic() - started
            self._save_duration(what, elapsed_s)
            self._print(f"✓ {what}: {format_duration(elapsed_s)}")
        finally:
            with self._lock:
                del self._running[what]

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Print the running steps periodically until the block ends."""
        ended = threading.Event()
        thread = threading.Thread(target=self._run_heartbeat, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _run_heartbeat(self, ended: threading.Event) -> None:
        on_terminal = sys.stderr.isatty()
        while not ended.wait(1.0 if on_terminal else HEARTBEAT_EVERY_S):
            now = time.monotonic()
            with self._lock:
                running = [(what, now - started) for what, started in self._running.items()]
            slow = [
                f"{what} {format_duration(elapsed_s)}" for what, elapsed_s in running if elapsed_s > HEARTBEAT_AFTER_S
            ]
            if slow:
                self._print("… " + " · ".join(slow), fleeting=on_terminal)

    def _print(self, text: str, *, fleeting: bool = False) -> None:
        clear = "\r\x1b[2K" if sys.stderr.isatty() else ""
        with self._lock:
            sys.stderr.write(clear + text + ("" if fleeting else "\n"))
            sys.stderr.flush()

    def _load_durations(self) -> dict[str, float]:
        try:
            return {str(what): float(seconds) for what, seconds in json.loads(self.durations_file.read_text()).items()}
        except (OSError, ValueError):
            return {}  # without the file only the durations of the last run are missing

    def _save_duration(self, what: str, seconds: float) -> None:
        with self._lock:
            self.durations_file.parent.mkdir(parents=True, exist_ok=True)
            draft = self.durations_file.with_suffix(f".{threading.get_ident()}")
            draft.write_text(json.dumps({**self._load_durations(), what: round(seconds, 1)}, indent=1))
            draft.replace(self.durations_file)
