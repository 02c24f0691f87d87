"""The two interfaces of a store as one, so that each behaviour is tested with both."""

from __future__ import annotations

import asyncio
from typing import Any

from langgraph.store.base import BaseStore


class Blocking:
    """A store's asynchronous methods by the names of the synchronous ones, each call in a separate event loop."""

    def __init__(self, store: BaseStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, f"a{name}")
        return lambda *args, **kwargs: asyncio.run(method(*args, **kwargs))
