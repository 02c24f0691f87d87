"""JSON values as the texts of memories: encoded without loss, and what of them is searched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

NO_WORDS = "-"
"""The index text of a memory that no query finds by its words: it has no term."""


def encode(value: object, field: str) -> str:
    """Return the JSON of a value, without white space.

    Raises:
        ValueError: it has no JSON, such as a date or an infinite number; the message names `field`.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_dict)
    except (TypeError, ValueError, RecursionError) as exc:
        raise ValueError(f"{field} is not a JSON value ({exc}); convert it to texts, finite numbers and lists") from exc
    try:
        text.encode()
    except UnicodeEncodeError:  # a surrogate without its partner is JSON as an escape only
        return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_as_dict)
    return text


def leaf_texts(value: object) -> Iterator[str]:
    """Yield the texts and numbers within a JSON value, in its order: its words, without syntax and names of fields."""
    match value:
        case str():
            yield value.encode(errors="replace").decode().replace("\0", " ")
        case bool() | None:
            return
        case int() | float():
            yield json.dumps(value)
        case Mapping():
            for each in value.values():
                yield from leaf_texts(each)
        case list() | tuple():
            for each in value:
                yield from leaf_texts(each)


def index_text(*values: object) -> str:
    """Return what is searched of these values: a line per text; `NO_WORDS` if they have none."""
    lines = [text for value in values for text in leaf_texts(value) if text.strip()]
    return "\n".join(lines) or NO_WORDS


def digest(*parts: str) -> str:
    """Return a request id that is the same for the same parts, and another for others: 64 hexadecimal digits."""
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode(errors="surrogatepass")).hexdigest()


def _as_dict(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
