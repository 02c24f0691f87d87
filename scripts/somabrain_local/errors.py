"""What can go wrong, as sentences that say the remedy.

LocalError
├── CommandFailed   a program ended badly; carries the end of its output
└── Timeout         something did not become ready in its time
"""

from __future__ import annotations


class LocalError(Exception):
    """Stops the command; its message is all the person sees."""


class CommandFailed(LocalError):
    """A program ended with an error."""


class Timeout(LocalError):
    """A condition was not met in its time."""
