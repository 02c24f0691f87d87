"""Exit error of Vault's agent from the last lines of its log, which the kubelet stores; they may begin mid-line."""

from __future__ import annotations

import re
from typing import Final

_EXIT_ERROR: Final = re.compile(r"runtime error encountered:\s+error=(.*?)\s+exitCode=\d+", re.DOTALL)
_LINE_PREFIX: Final = re.compile(r"^\s*\|", re.MULTILINE)
"""Prefix of each line of a multi-line error (github.com/hashicorp/go-hclog)."""


def exit_error(log: str) -> str:
    """Return the error that made the agent exit, on one line, or the log itself if it has none."""
    errors = _EXIT_ERROR.findall(log)
    if not errors:
        return log
    error = str(errors[-1])
    if error.startswith('"'):
        return error.strip('"').replace('\\"', '"')
    return " ".join(_LINE_PREFIX.sub("", error).replace("\\t", " ").split())
