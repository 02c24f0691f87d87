"""Precedence of versions by Semantic Versioning 2.0.0 (semver.org, sections 9 to 11)."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

_PART: Final = r"(?:0|[1-9]\d*)"
_SEMVER: Final = re.compile(
    rf"^v?(?P<core>{_PART}\.{_PART}\.{_PART})"
    rf"(?:-(?P<pre>(?:{_PART}|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:{_PART}|\d*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+[0-9A-Za-z.-]+)?$"
)
Precedence: TypeAlias = "tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...]]"


def tag_of(image: str) -> str:
    """Return the tag of an image, or an empty string if it has none."""
    name = image.split("@", maxsplit=1)[0].rsplit("/", maxsplit=1)[-1]
    return name.partition(":")[2]


def precedence(version: str) -> Precedence | None:
    """Return a value that orders versions, or None if it is not SemVer. A leading `v` is ignored."""
    match = _SEMVER.match(version)
    if match is None:
        return None
    core = tuple(int(part) for part in match["core"].split("."))
    parts = match["pre"].split(".") if match["pre"] else []
    identifiers = tuple((not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts)
    return core, match["pre"] is None, identifiers


def is_downgrade(before: str, after: str) -> bool | None:
    """Return whether `after` is older than `before`, or None if one of them is not SemVer."""
    old, new = precedence(before), precedence(after)
    return None if old is None or new is None else new < old
