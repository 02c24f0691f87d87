"""What Vault's agent ended for, out of the last lines of its log, which the kubelet keeps; they may begin anywhere."""

from __future__ import annotations

import re
from typing import Final

_EXIT_ERROR: Final = re.compile(r"runtime error encountered:\s+error=(.*?)\s+exitCode=\d+", re.DOTALL)
_LINE_PREFIX: Final = re.compile(r"^\s*\|", re.MULTILINE)
"""Before each line of an error of several lines (github.com/hashicorp/go-hclog)."""


def exit_error(log: str) -> str:
    """Return the error that the agent ended for on one line, or the log itself where it does not say."""
    errors = _EXIT_ERROR.findall(log)
    if not errors:
        return log
    error = str(errors[-1])
    if error.startswith('"'):
        return error.strip('"').replace('\\"', '"')
    return " ".join(_LINE_PREFIX.sub("", error).replace("\\t", " ").split())
