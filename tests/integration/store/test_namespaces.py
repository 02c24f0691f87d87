"""A namespace is created once, with every setting filled in, and only with supported settings."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from common.errors import AlreadyExists, InvalidArgument, NotFound
from somabrain_service.commands.create_namespace import create_namespace
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.names import NamespaceName, tenant_id
from somabrain_service.domain.namespace import NamespaceDraft, NamespaceSettings
from somabrain_service.encoders.minilm import ENCODER_ID
from tests.integration.store.conftest import Brain

TENANT = tenant_id("i", "t")
NOTES = NamespaceName.of("notes")


async def test_unset_settings_get_defaults_and_set_ones_are_preserved(services: AppContext) -> None:
    plain = await create_namespace(services, TENANT, NamespaceDraft(NOTES))
    assert plain.settings == NamespaceSettings("en", ENCODER_ID, None, None, timedelta(days=7), "conversation")
    assert (plain.version, len(plain.epoch)) == (0, 12)
    settings = NamespaceSettings(
        "en", "lexical", timedelta(hours=36), timedelta(microseconds=1), timedelta(days=400), "documents"
    )
    draft = NamespaceDraft(NamespaceName.of("other"), "Für Leute", settings)
    created = await create_namespace(services, TENANT, draft)
    assert (created.settings, created.display_name) == (settings, "Für Leute")
    assert await services.store.namespace(TENANT, created.name) == created


async def test_namespace_name_is_unique_per_tenant_and_request_is_replayed(services: AppContext) -> None:
    draft = NamespaceDraft(NOTES)
    first, *others = await asyncio.gather(
        *(create_namespace(services, TENANT, draft, request_id="r") for _ in range(6))
    )
    assert all(other == first for other in others)
    with pytest.raises(AlreadyExists, match="namespaces/notes exists"):
        await create_namespace(services, TENANT, draft)
    with pytest.raises(AlreadyExists, match="request_id"):
        await create_namespace(services, TENANT, NamespaceDraft(NOTES, "another"), request_id="r")
    assert (await create_namespace(services, tenant_id("i", "u"), draft)).epoch != first.epoch


async def test_unsupported_setting_is_refused_by_field(services: AppContext) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await create_namespace(services, TENANT, NamespaceDraft(NOTES, settings=NamespaceSettings(encoder="gpt")))
    assert caught.value.field == "namespace.settings.encoder"
    with pytest.raises(InvalidArgument, match=r"namespace\.settings\.language"):
        await create_namespace(services, TENANT, NamespaceDraft(NOTES, settings=NamespaceSettings(language="tlh")))


async def test_every_command_on_missing_namespace_explains_how_to_create_it(brain: Brain) -> None:
    result = await brain.remember("Bees dance.")
    missing = brain.at("nowhere")
    for call in (
        missing.remember("a"),
        missing.recall("a"),
        missing.list_all(),
        missing.forget(type(result.memory.name)(missing.parent, result.memory.name.memory), allow_missing=True),
    ):
        with pytest.raises(NotFound, match=r"namespaces/nowhere does not exist.*CreateNamespace"):
            await call
