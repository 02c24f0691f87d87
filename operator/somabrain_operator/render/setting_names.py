"""Names of settings that all running images know: the service refuses to start with an unknown variable.

Images before 0.2 know only the former names, later ones know both. Former names are also rendered if the tag has no
version, as with a digest alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from semver import Version

from common.config.former_names import FORMER_ENDPOINT_KEYS, FORMER_NAMES, V
from somabrain_operator.kube.semver import parse_version, tag_of

_FIRST_RENAMED: Final = Version(0, 2, 0)
_FORMER: Final = {present: former for former, present in {**FORMER_NAMES, **FORMER_ENDPOINT_KEYS}.items()}


def need_former_names(images: Iterable[str]) -> bool:
    """Return whether one of the images is, or may be, older than the present names."""
    versions = [parse_version(tag_of(image)) for image in images]
    return any(version is None or version.finalize_version() < _FIRST_RENAMED for version in versions)


def is_older_than_0_2(image: str) -> bool:
    """Return whether an image is older than 0.2 by its tag."""
    version = parse_version(tag_of(image))
    return version is not None and version.finalize_version() < _FIRST_RENAMED


def with_former_names(settings: Mapping[str, V]) -> dict[str, V]:
    """Return variables, or keys of an encoder's endpoint, by their former names, in the same order."""
    return {_FORMER.get(name, name): value for name, value in settings.items()}


def present_name(variable: str) -> str:
    """Return the present name of a variable, in capitals, from its present or former name."""
    return FORMER_NAMES.get(variable.upper(), variable.upper())
