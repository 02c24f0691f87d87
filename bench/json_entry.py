"""Fields of a JSON file, read with an error that names the file, the entry and the field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Kind = TypeVar("Kind")


class ShapeError(ValueError):
    """A file does not have the documented shape; the message names the file, the entry, the field and the remedy."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One JSON object, and where it stands in its file, such as `data.json: entry[3], turns[0]`."""

    place: str
    value: dict[str, object]

    def has(self, name: str) -> bool:
        """Return whether there is a field of this name."""
        return name in self.value

    def text(self, name: str) -> str:
        """Return a field that is a string."""
        return self._typed(name, str, "a string")

    def integer(self, name: str) -> int:
        """Return a field that is a whole number."""
        value = self._typed(name, int, "a whole number")
        if isinstance(value, bool):
            raise self.invalid(name, f"must be a whole number, but is {json.dumps(value)}")
        return value

    def flag(self, name: str) -> bool:
        """Return a field that is true or false, false if it is absent or null."""
        return False if self.value.get(name) is None else self._typed(name, bool, "true or false")

    def texts(self, name: str) -> list[str]:
        """Return a field that is a list of strings."""
        values: list[str] = self._typed(name, list, "a list of strings")
        for number, value in enumerate(values):
            if not isinstance(value, str):
                raise self.invalid(f"{name}[{number}]", f"must be a string, but is {_kind(value)}")
        return values

    def lists(self, name: str) -> list[list[object]]:
        """Return a field that is a list of lists."""
        values: list[list[object]] = self._typed(name, list, "a list of lists")
        for number, value in enumerate(values):
            if not isinstance(value, list):
                raise self.invalid(f"{name}[{number}]", f"must be a list, but is {_kind(value)}")
        return values

    def entries(self, name: str) -> Iterator[Entry]:
        """Yield the objects of a field that is a list of objects."""
        return objects(self._typed(name, list, "a list of objects"), f"{self.place}, {name}")

    def invalid(self, name: str, problem: str) -> ShapeError:
        """Return the error for a field; `problem` ends the sentence, such as `is missing`."""
        return ShapeError(f"{self.place}: the field `{name}` {problem}. The two formats are in docs/bench.md.")

    def _typed(self, name: str, kind: type[Kind], described: str) -> Kind:
        if name not in self.value:
            raise self.invalid(name, f"is missing; it must be {described}")
        value = self.value[name]
        if not isinstance(value, kind):
            raise self.invalid(name, f"must be {described}, but is {_kind(value)}")
        return value


def objects(values: list[object], place: str) -> Iterator[Entry]:
    """Yield the objects of a list; `place` is that of the list."""
    for number, value in enumerate(values):
        if not isinstance(value, dict):
            raise ShapeError(
                f"{place}[{number}] must be an object, but is {_kind(value)}. The two formats are in docs/bench.md."
            )
        yield Entry(f"{place}[{number}]", value)


def entries(path: str) -> list[Entry]:
    """Return the entries of a file that is a list of objects, at least one.

    Raises:
        ShapeError: it is not JSON, not a list, empty, or has an entry that is not an object.
    """
    try:
        values = json.loads(Path(path).read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise ShapeError(f"{path} is not JSON in UTF-8: {exc}.") from exc
    if not isinstance(values, list) or not values:
        described = "an empty list" if values == [] else _kind(values)
        raise ShapeError(
            f"{path} must be a list of at least one object, but is {described}. The two formats are in docs/bench.md."
        )
    return list(objects(values, f"{path}: entry"))


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return names.get(type(value), "a number")
