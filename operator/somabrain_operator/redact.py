"""Takes secrets out of words that others said, before they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, urlsplit

MAX_LENGTH: Final = 500
"""Characters of somebody else's words that are kept."""
MAX_IGNORED_LENGTH: Final = 3
"""Characters that are no secret, and whose removal would leave nothing to read: a Secret may also hold a 1."""
_REDACTED: Final = "[redacted]"
_URL: Final = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^\s/@]*@", re.IGNORECASE)
_DSN: Final = re.compile(r"\bpostgres(?:ql)?(?:\+\w+)?://[^\s'\"]+", re.IGNORECASE)
_PAIR: Final = re.compile(
    r"((?:password|passwd|pwd|secret|token)[\"']?)(\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|\S+)", re.IGNORECASE
)


def redact(message: str, secrets: Iterable[str] = ()) -> str:
    """Return `words` on one line, at most LONGEST characters, without connection strings and passwords.

    Args:
        words: what a pod or a server said.
        secrets: contents of Secrets that were read; they and the passwords in them are taken out literally.
    """
    for secret in sorted(_secret_parts(secrets), key=len, reverse=True):
        message = message.replace(secret, _REDACTED)
    message = _DSN.sub(_REDACTED, message)
    message = _URL.sub(rf"\1{_REDACTED}@", message)
    message = _PAIR.sub(rf"\1\2{_REDACTED}", message)
    message = " ".join("".join(each if each.isprintable() else " " for each in message).split())
    return message if len(message) <= MAX_LENGTH else f"{message[: MAX_LENGTH - 1]}…"


def _secret_parts(secrets: Iterable[str]) -> set[str]:
    parts = set()
    for secret in secrets:
        parts.add(secret)
        try:
            password = urlsplit(secret).password
        except ValueError:
            continue
        if password:
            parts |= {password, unquote(password)}
    return {each for each in parts if len(each) > MAX_IGNORED_LENGTH}
