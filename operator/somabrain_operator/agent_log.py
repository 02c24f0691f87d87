"""What Vault's agent ended for, out of the last lines of its log, which the kubelet keeps; they may begin anywhere."""

from __future__ import annotations

import re
from typing import Final

_ENDING: Final = re.compile(r"runtime error encountered:\s+error=(.*?)\s+exitCode=\d+", re.DOTALL)
_MARGIN: Final = re.compile(r"^\s*\|", re.MULTILINE)
"""Before each line of an error of several lines (github.com/hashicorp/go-hclog)."""


def ended_for(log: str) -> str:
    """Return the error that the agent ended for on one line, or the log itself where it does not say."""
    found = _ENDING.findall(log)
    if not found:
        return log
    error = str(found[-1])
    if error.startswith('"'):
        return error.strip('"').replace('\\"', '"')
    return " ".join(_MARGIN.sub("", error).replace("\\t", " ").split())
