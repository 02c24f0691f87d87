"""JSON Pointer (RFC 6901), in which settings name a claim inside a token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common.errors import ConfigurationError


def parse(pointer: str, setting: str) -> tuple[str, ...]:
    """Return the pointer's reference tokens.

    Raises:
        ConfigurationError: `pointer` is not a JSON Pointer; the message names `setting`.
    """
    if not pointer.startswith("/"):
        raise ConfigurationError(
            f"{setting}: {pointer!r} is not a JSON Pointer; start it with '/', for example /tenant."
        )
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/"))


def resolve(document: object, tokens: Sequence[str]) -> object:
    """Return the value at the reference tokens in `document`; None: there is no such value."""
    for token in tokens:
        if isinstance(document, Mapping):
            document = document.get(token)
        elif isinstance(document, list) and token.isascii() and token.isdigit() and int(token) < len(document):
            document = document[int(token)]
        else:
            return None
    return document
