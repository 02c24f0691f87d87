"""Takes secrets out of words that others said, before they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, urlsplit

LONGEST: Final = 500
"""Characters of somebody else's words that are kept."""
SHORTEST: Final = 3
"""Characters that are no secret, and whose removal would leave nothing to read: a Secret may also hold a 1."""
_HIDDEN: Final = "[redacted]"
_URL: Final = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^\s/@]*@", re.IGNORECASE)
_DSN: Final = re.compile(r"\bpostgres(?:ql)?(?:\+\w+)?://[^\s'\"]+", re.IGNORECASE)
_PAIR: Final = re.compile(
    r"((?:password|passwd|pwd|secret|token)[\"']?)(\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|\S+)", re.IGNORECASE
)


def redact(words: str, secrets: Iterable[str] = ()) -> str:
    """Return `words` on one line, at most LONGEST characters, without connection strings and passwords.

    Args:
        words: what a pod or a server said.
        secrets: contents of Secrets that were read; they and the passwords in them are taken out literally.
    """
    for secret in sorted(_parts(secrets), key=len, reverse=True):
        words = words.replace(secret, _HIDDEN)
    words = _DSN.sub(_HIDDEN, words)
    words = _URL.sub(rf"\1{_HIDDEN}@", words)
    words = _PAIR.sub(rf"\1\2{_HIDDEN}", words)
    words = " ".join("".join(each if each.isprintable() else " " for each in words).split())
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"


def _parts(secrets: Iterable[str]) -> set[str]:
    found = set()
    for secret in secrets:
        found.add(secret)
        try:
            password = urlsplit(secret).password
        except ValueError:
            continue
        if password:
            found |= {password, unquote(password)}
    return {each for each in found if len(each) > SHORTEST}
