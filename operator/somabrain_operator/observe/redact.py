"""Redaction of secrets in messages of pods and servers before they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, urlsplit

MAX_LENGTH: Final = 500
"""Maximum characters of a redacted message."""
MAX_IGNORED_LENGTH: Final = 3
"""Values up to this length are not redacted: a Secret may hold a 1, and removing it would garble any message."""
_REDACTED: Final = "[redacted]"
_URL: Final = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^\s/@]*@", re.IGNORECASE)
_DSN: Final = re.compile(r"\bpostgres(?:ql)?(?:\+\w+)?://[^\s'\"]+", re.IGNORECASE)
_PAIR: Final = re.compile(
    r"((?:password|passwd|pwd|secret|token)[\"']?)(\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|\S+)", re.IGNORECASE
)


def redact(message: str, secrets: Iterable[str] = ()) -> str:
    """Return `message` on one line, at most MAX_LENGTH characters, without connection strings and passwords.

    Args:
        message: text from a pod or a server.
        secrets: contents of Secrets that were read; they and the passwords in them are removed literally.
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
