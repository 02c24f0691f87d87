"""A service of 0.1 exits on an unknown setting, so its pods get the former setting names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from common.config.former_names import FORMER_ENDPOINT_KEYS, FORMER_NAMES
from somabrain_operator.api.v1alpha1.encoder import EndpointEncoder
from somabrain_operator.api.v1alpha1.platform import Events
from somabrain_operator.kube.names import ChildId
from somabrain_operator.kube.objects import Manifest, mapping, text
from tests.unit.operator import samples

CONFIG = ChildId("ConfigMap", "quickstart-config")
ENDPOINT = {"id": "nomic", "url": "http://nomic:11434/v1/embeddings", "model": "nomic-embed-text", "dimensions": 768}
FIELDS: Mapping[str, Any] = {
    "events": {"brokers": ["kafka:9092"]},
    "config": {"encoder": {"kind": "nomic", "endpoints": [ENDPOINT]}},
}
REPOSITORY = "ghcr.io/somabrain/somabrain-service"


def settings(image: str, *running: str) -> Mapping[str, Any]:
    """Return the settings that the operator renders for an image while servers of other images run."""
    spec = samples.spec(image=image, **FIELDS)
    fingerprint = samples.plan(samples.observed(spec)).migration
    assert fingerprint is not None
    status = samples.migrated(fingerprint.hash or "")
    plan = samples.plan(samples.observed(spec, status=status, pods=[pod(each) for each in running]))
    (config,) = [each for each in plan.apply if text(each, "metadata", "name") == CONFIG.name]
    return mapping(config, "data")


def pod(image: str) -> Manifest:
    """Return a server's pod of an image."""
    return {
        "metadata": {"name": "p", "labels": {"app.kubernetes.io/component": "server"}},
        "spec": {"containers": [{"name": "opa", "image": "opa:1"}, {"name": "server", "image": image}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


@pytest.mark.parametrize(
    ("image", "running", "former"),
    [
        (f"{REPOSITORY}:0.2.0", (), False),
        (f"{REPOSITORY}:0.2.0-rc.1", (), False),
        (f"{REPOSITORY}:v0.3.1", (f"{REPOSITORY}:0.2.0",), False),
        (f"{REPOSITORY}:0.1.0", (), True),
        (f"{REPOSITORY}:0.1.7-previous", (f"{REPOSITORY}:0.2.0",), True),
        (f"{REPOSITORY}:0.2.0", (f"{REPOSITORY}:0.2.0", f"{REPOSITORY}:0.1.0"), True),
        (f"{REPOSITORY}:latest", (), True),
        (f"{REPOSITORY}@sha256:{'0' * 64}", (), True),
    ],
)
def test_former_setting_names_are_rendered_while_old_server_runs(
    image: str, running: tuple[str, ...], former: bool
) -> None:
    """Former names are rendered while a server of 0.1 runs, or may run; otherwise the present ones."""
    data = settings(image, *running)
    assert bool(set(FORMER_NAMES) & set(data)) == former
    assert bool(set(FORMER_NAMES.values()) & set(data)) != former
    endpoints = data["SOMABRAIN_ENCODER__ENDPOINTS"]
    assert all((f'"{key}":' in endpoints) == former for key in FORMER_ENDPOINT_KEYS)
    assert all((f'"{key}":' in endpoints) != former for key in FORMER_ENDPOINT_KEYS.values())


def test_setting_names_do_not_change_config_hash() -> None:
    """The hash that rolls the pods is the same under former and present names."""
    spec = samples.spec(version="0.2.0", **FIELDS)
    beside_old = samples.observed(spec, pods=[pod(f"{REPOSITORY}:0.1.0")])
    assert samples.plan(samples.observed(spec)).config_hash == samples.plan(beside_old).config_hash


def test_user_setting_under_former_name_conflicts_with_field() -> None:
    """A user's key under a former name conflicts with the field: the service would get the setting twice."""
    spec = samples.spec(configMapRefs=[{"name": "mine"}], **FIELDS)
    references = samples.resolved(spec)
    mine = references[-1]
    assert mine.reference.name == "mine"
    digests = {"SOMABRAIN_EVENTS__HOLD_S": "hash"}
    state = samples.observed(spec, references=(*references[:-1], replace(mine, digests=digests)))
    condition = samples.conditions(state)["ReferencesResolved"]
    assert condition["status"] == "False"
    assert "SOMABRAIN_EVENTS__HOLD_S, which is set by this resource's own fields" in condition["message"]


@pytest.mark.parametrize(
    ("fields", "characters", "reset_s"),
    [
        ({}, 8000, 10),
        ({"characters": 5, "breakerRestSeconds": 6}, 5, 6),
        ({"maxInputCharacters": 7, "breakerResetSeconds": 8}, 7, 8),
        ({"characters": 8000, "breakerRestSeconds": 10, "maxInputCharacters": 7, "breakerResetSeconds": 8}, 7, 8),
    ],
)
def test_endpoint_is_read_with_former_fields(fields: dict[str, int], characters: int, reset_s: int) -> None:
    """A former field counts where the present one is not set; a stored former default does not count beside it."""
    endpoint = EndpointEncoder.model_validate({**ENDPOINT, **fields})
    assert (endpoint.max_input_characters, endpoint.breaker_reset_seconds) == (characters, reset_s)


@pytest.mark.parametrize(
    ("fields", "retention_s"),
    [({}, 604_800), ({"holdSeconds": 0}, 0), ({"holdSeconds": 604_800, "unpublishedRetentionSeconds": 60}, 60)],
)
def test_events_are_read_with_former_field(fields: dict[str, int], retention_s: int) -> None:
    """`holdSeconds` is read as the present field, even when it is zero."""
    events = Events.model_validate({"brokers": ["kafka:9092"], **fields})
    assert events.unpublished_retention_seconds == retention_s
