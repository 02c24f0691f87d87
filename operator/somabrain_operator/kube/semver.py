"""Precedence of versions by Semantic Versioning 2.0.0 (semver.org, sections 9 to 11)."""

from __future__ import annotations

from semver import Version


def tag_of(image: str) -> str:
    """Return the tag of an image, or an empty string if it has none."""
    name = image.split("@", maxsplit=1)[0].rsplit("/", maxsplit=1)[-1]
    return name.partition(":")[2]


def parse_version(version: str) -> Version | None:
    """Return the version, which orders by precedence, or None if it is not SemVer. A leading `v` is ignored."""
    try:
        return Version.parse(version.removeprefix("v"))
    except ValueError:
        return None


def is_downgrade(before: str, after: str) -> bool | None:
    """Return whether `after` is older than `before`, or None if one of them is not SemVer."""
    old, new = parse_version(before), parse_version(after)
    return None if old is None or new is None else new < old
