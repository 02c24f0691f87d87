"""JSON Pointer (RFC 6901), in which settings name a claim inside a token."""

from __future__ import annotations

import re
from typing import Final

from jsonpointer import EndOfList, JsonPointer

from common.errors import ConfigurationError

_UNESCAPED_TILDE: Final = re.compile(r"~(?![01])")


def parse(pointer: str, setting: str) -> JsonPointer:
    """Return the parsed pointer. A `~` that is not followed by 0 or 1 is literal.

    Raises:
        ConfigurationError: `pointer` is not a JSON Pointer; the message names `setting`.
    """
    if not pointer.startswith("/"):
        raise ConfigurationError(
            f"{setting}: {pointer!r} is not a JSON Pointer; start it with '/', for example /tenant."
        )
    return JsonPointer(_UNESCAPED_TILDE.sub("~0", pointer))


def resolve(document: object, pointer: JsonPointer) -> object:
    """Return the value that `pointer` selects in `document`; None: there is no such value."""
    value: object = pointer.resolve(document, None)
    return None if isinstance(value, EndOfList) else value
