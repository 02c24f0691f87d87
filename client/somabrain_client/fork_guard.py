"""A client belongs to the process that created it: threads, event loops and locks of gRPC do not survive a fork.

In a forked process a call through its parent's client would never end, and even a new client would hang or crash once
the parent had one. Both are refused at once, before the gRPC library is entered.
"""

from __future__ import annotations

import os
from typing import ClassVar

_REMEDY = (
    "gRPC does not survive a fork: create the first client after the fork, in each process, or start processes with "
    "the method spawn"
)


class ForkGuard:
    """The process that created a client."""

    _first_process_id: ClassVar[int | None] = None
    """The process that created the first client; a forked process inherits it, a spawned one does not."""

    def __init__(self) -> None:
        """Record the current process.

        Raises:
            RuntimeError: a client was created before this process was forked; the message gives the remedy.
        """
        self._process_id = os.getpid()
        if ForkGuard._first_process_id is None:
            ForkGuard._first_process_id = self._process_id
        if self._process_id != ForkGuard._first_process_id:
            raise RuntimeError(
                f"process {self._process_id} was forked after process {ForkGuard._first_process_id} had created a "
                f"client; {_REMEDY}"
            )

    @property
    def is_forked(self) -> bool:
        """True in a process that was forked after the client was created."""
        return os.getpid() != self._process_id

    def check(self) -> None:
        """Refuse a process that was forked after the client was created.

        Raises:
            RuntimeError: the current process is not the client's; the message gives the remedy.
        """
        if self.is_forked:
            raise RuntimeError(
                f"the client was created in process {self._process_id} and is used in process {os.getpid()}; {_REMEDY}"
            )
