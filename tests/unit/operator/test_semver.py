"""A downgrade is refused before any migration, unless the annotation names its version."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from somabrain_operator.kube.names import ALLOW_DOWNGRADE
from somabrain_operator.kube.semver import is_downgrade, tag_of
from somabrain_operator.observe.state import ObservedState
from tests.unit.operator.samples import migrated, observed, plan, settled, spec

ASCENDING = (
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.2.0",
    "1.10.0",
    "2.0.0",
)


@pytest.mark.parametrize(("older", "newer"), tuple(pairwise(ASCENDING)))
def test_versions_are_ordered_by_semver_precedence(older: str, newer: str) -> None:
    """Versions have the precedence of semver.org, section 11; numeric identifiers compare as numbers."""
    assert (is_downgrade(newer, older), is_downgrade(older, newer)) == (True, False)


@pytest.mark.parametrize(("before", "after"), [("1.0.0", "1.0.0+build.7"), ("v1.0.0", "1.0.0")])
def test_build_metadata_and_v_prefix_are_not_a_downgrade(before: str, after: str) -> None:
    """Build metadata and a leading v do not affect precedence."""
    assert is_downgrade(before, after) is is_downgrade(after, before) is False


@pytest.mark.parametrize("tag", ["", "latest", "1.0", "01.0.0", "1.0.0-01", "sha-abc"])
def test_tag_that_is_not_semver_is_not_compared(tag: str) -> None:
    """A tag that is not SemVer is neither older nor newer."""
    assert is_downgrade(tag, "1.0.0") is is_downgrade("1.0.0", tag) is None


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("ghcr.io/a/b:1.2.3", "1.2.3"),
        ("registry:5000/b", ""),
        ("registry:5000/b:1@sha256:0", "1"),
        ("b@sha256:0", ""),
    ],
)
def test_version_is_image_tag(image: str, tag: str) -> None:
    """The version is the image's tag, and not a registry's port or a digest."""
    assert tag_of(image) == tag


def serving() -> ObservedState:
    """Return a resource that is settled at version 0.2.0."""
    first = observed(spec(version="0.2.0"))
    record = plan(first).migration
    assert record is not None
    return settled(observed(spec(version="0.2.0"), status=migrated(record.hash or "")))


def requesting(annotation: str = "", **fields: str) -> ObservedState:
    """Return the same resource with a changed spec."""
    state = serving()
    annotations = {ALLOW_DOWNGRADE: annotation} if annotation else {}
    return replace(state, brain=replace(state.brain, spec=spec(**fields), annotations=annotations))


def test_older_version_is_rejected_without_migration() -> None:
    """For an older version no migration is started; the message has both remedies."""
    planned = plan(requesting(version="0.1.9"))
    finding = planned.conditions["ConfigValid"]
    assert (finding.status, finding.reason, planned.failed) == ("False", "Downgrade", True)
    assert "Job" not in {each["kind"] for each in planned.apply}
    assert finding.message.startswith("0.1.9 is older than 0.2.0, which serves")
    assert finding.message.endswith("kubectl annotate sb quickstart somabrain.io/allow-downgrade=0.1.9 --overwrite")


@pytest.mark.parametrize(("annotation", "refused"), [("0.1.9", False), ("0.1.8", True), ("true", True)])
def test_downgrade_annotation_allows_only_named_version(annotation: str, refused: bool) -> None:
    """The annotation allows only the version that it names."""
    assert (plan(requesting(annotation, version="0.1.9")).conditions["ConfigValid"].status == "False") is refused


@pytest.mark.parametrize("fields", [{"version": "0.2.0"}, {"version": "0.3.0"}, {"version": "0.2.1-rc.1"}])
def test_same_and_newer_versions_are_accepted(fields: dict[str, str]) -> None:
    """The same and newer versions pass, including a pre-release."""
    assert plan(requesting(**fields)).conditions["ConfigValid"].reason == "Valid"


def test_incomparable_image_is_accepted_and_reported() -> None:
    """A digest cannot be compared: it is accepted, and the status reports that no comparison was made."""
    finding = plan(requesting(image="registry.example/brain@sha256:" + "0" * 64)).conditions["ConfigValid"]
    assert (finding.status, finding.reason) == ("True", "VersionsNotCompared")


def test_incomplete_upgrade_can_be_reverted() -> None:
    """The version is compared with the one that serves, not with one requested in between."""
    upgrading = requesting(version="0.3.0")
    assert plan(upgrading).halted_by is not None  # it migrates
    back = replace(upgrading, brain=replace(upgrading.brain, spec=spec(version="0.2.0")))
    assert plan(back).conditions["ConfigValid"].reason == "Valid"
