"""Errors; each message includes the remedy.

LocalError
├── CommandFailed   a program failed; the message has the end of its output
└── Timeout         a condition was not met in time
"""

from __future__ import annotations


class LocalError(Exception):
    """Stops the command; the user sees only its message."""


class CommandFailed(LocalError):
    """A program exited with an error."""


class Timeout(LocalError):
    """A condition was not met in time."""
