"""Settings under the names that all running images know: the service stops at a variable that names no setting.

Images before 0.2 know only the former names, those since know both. Former names are also rendered where a version
cannot be read from the tag, as with a digest alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from common.config.former_names import FORMER_ENDPOINT_KEYS, FORMER_NAMES, V
from somabrain_operator.semver import precedence, tag_of

_FIRST_RENAMED: Final = (0, 2, 0)
_FORMER: Final = {present: former for former, present in {**FORMER_NAMES, **FORMER_ENDPOINT_KEYS}.items()}


def need_former_names(images: Iterable[str]) -> bool:
    """Return whether one of the images is older than the present names, or may be."""
    versions = [precedence(tag_of(image)) for image in images]
    return any(version is None or version[0] < _FIRST_RENAMED for version in versions)


def with_former_names(settings: Mapping[str, V]) -> dict[str, V]:
    """Return variables, or keys of an encoder's endpoint, by their former names, in the order given."""
    return {_FORMER.get(name, name): value for name, value in settings.items()}


def present_name(variable: str) -> str:
    """Return the present name of a variable, in capitals, whichever of its names is given."""
    return FORMER_NAMES.get(variable.upper(), variable.upper())
