"""Module for kopf, `kopf run -m somabrain_operator.main`: startup, login, cleanup, and the handlers."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import Final

import kopf

from common.config.settings import former_names_in_use
from common.config.settings import settings as app_settings
from common.log import configure_logging, warn_of_former_names
from somabrain_operator import handlers
from somabrain_operator.app import lifespan
from somabrain_operator.informer.kopf_storage import NoDiffBase, NoProgress
from somabrain_operator.kube.kinds import LEASE, WATCHED
from somabrain_operator.kube.transport import credentials

WATCH_BACKOFFS_S: Final = (1.0,) * 60
"""Delays in seconds between retries of a watch that cannot reach the API server. kopf's own grow: after an outage of
15 s no events arrived for up to 8 s more."""


@kopf.on.startup(errors=kopf.ErrorsMode.PERMANENT)
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: object) -> None:
    """Configure kopf to only watch, and start the operator's own tasks."""
    configure_logging(app_settings.log)
    warn_of_former_names(former_names_in_use())
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # it logs every event
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True  # the watched kinds do not change at run time
    settings.queueing.worker_limit = 100
    settings.queueing.idle_timeout = 0.05  # a worker serves one object; an idle one delays events of others
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.watching.chunk_size = 100
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 30
    settings.watching.inactivity_timeout = 70
    settings.networking.error_backoffs = WATCH_BACKOFFS_S
    for each in WATCHED.values():
        settings.watching.label_selectors[each.group, each.version, each.plural] = handlers.CHILD_LABEL
    settings.watching.field_selectors[LEASE.group, LEASE.version, LEASE.plural] = (
        f"metadata.name={app_settings.operator.lease_name}"
    )
    memo.stack = AsyncExitStack()
    memo.operator = await memo.stack.enter_async_context(lifespan(app_settings, lambda: credentials(settings)))


@kopf.on.login()
async def log_in(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: object) -> kopf.AiohttpSession | None:
    """Log in with the credentials of our own requests, for lists and watches that wait while they are refused."""
    info = credentials(settings)
    return memo.operator.watch_sessions.open(info) if info else None


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: object) -> None:
    """Let reconciles in progress finish, and close everything."""
    await memo.stack.aclose()
