"""LangGraph's `BaseStore`: items as memories, each under its own key.

    with SyncMemoryClient("localhost:50052") as client:
        graph = builder.compile(store=SomaBrainStore(client, "agents"))

An item is a memory: its value is the text, the words of its value are what is searched, its namespace is the subject.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    get_text_at_path,
    validate_op_namespace,
)

from somabrain_client.base_client import key_name
from somabrain_client.errors import NotFoundError
from somabrain_client.integrations import field_labels
from somabrain_client.integrations.json_values import NO_WORDS, encode, index_text
from somabrain_client.integrations.keyed_memories import gather, get_or_none, is_namespace_missing
from somabrain_client.memory_client import MemoryClient
from somabrain_client.models import Condition, Filter, Memory, MemoryKind
from somabrain_client.sync_client import SyncMemoryClient

ROOT = "langgraph:"
"""Begins the keys of items, so that other memories may be in the same namespace."""
SEARCHED, TTL_MINUTES, DEEP = "searched", "ttl", "deep"
"""Labels: whether a query finds the item, its life, and that its namespace is too long for a subject."""
MAX_SUBJECT_BYTES = 256
MAX_PAGE, MAX_TOP_K = 1000, 200

Namespace = tuple[str, ...]


class SomaBrainStore(BaseStore):
    """Items of LangGraph in one namespace of SomaBrain. Any thread and any event loop may use it."""

    supports_ttl = True

    def __init__(
        self,
        client: SyncMemoryClient,
        namespace: str,
        *,
        ttl: TTLConfig | None = None,
        fields: Sequence[str] = ("$",),
    ) -> None:
        """Store the arguments; no call is made.

        Args:
            client: the connection, which the caller closes.
            namespace: an existing namespace of SomaBrain.
            ttl: `default_ttl` in minutes and `refresh_on_read`, as in LangGraph. Expired items are deleted by the
                server, and no read returns them, so `omit_expired` is always true and nothing is swept here.
            fields: paths of the fields that are searched, unless a put names its own; `$`: all texts and numbers.

        Raises:
            ValueError: `ttl` asks for expired items.
        """
        if ttl is not None and ttl.get("omit_expired") is False:
            raise ValueError("ttl.omit_expired must be true or left out: the server never returns an expired memory")
        self.ttl_config = ttl
        self._client = client
        self._namespace = namespace
        self._fields = tuple(fields)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations and return their results in order.

        Reads see the state before the batch, and of several puts of one key the last one counts, as in LangGraph's own
        stores. The operations are separate calls: if one fails, others may have been done.
        """
        listed = list(ops)
        return self._client.run(lambda client: self._execute(client, listed))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations as `batch` does."""
        listed = list(ops)
        return await self._client.run_async(lambda client: self._execute(client, listed))

    async def _execute(self, client: MemoryClient, ops: list[Op]) -> list[Result]:
        for op in ops:
            validate_op_namespace(op)
            if isinstance(op, PutOp) and not op.namespace:
                raise InvalidNamespaceError(f"The namespace of {op.key!r} cannot be empty.")
        results: dict[int, Result] = dict.fromkeys(range(len(ops)))
        reads = {number: op for number, op in enumerate(ops) if not isinstance(op, PutOp)}
        results.update(zip(reads, await gather(self._read(client, op) for op in reads.values()), strict=True))
        last_puts = {(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}
        await gather(self._put(client, op) for op in last_puts.values())
        return [results[number] for number in range(len(ops))]

    async def _read(self, client: MemoryClient, op: Op) -> Result:
        match op:
            case GetOp():
                memory = await get_or_none(client, self._namespace, key_of(op.namespace, op.key))
                if memory is not None and op.refresh_ttl:
                    await self._refresh(client, [memory])
                return None if memory is None else item_of(memory)
            case SearchOp():
                return await self._search(client, op)
            case ListNamespacesOp():
                return await self._list_namespaces(client, op)
            case _:
                raise ValueError(f"{type(op).__name__} is not an operation of a store")

    async def _put(self, client: MemoryClient, op: PutOp) -> None:
        key = key_of(op.namespace, op.key)
        if op.value is None:
            await client.forget(key_name(self._namespace, key), allow_missing=True)
            return
        subject = ".".join(op.namespace)
        is_deep = len(subject.encode()) > MAX_SUBJECT_BYTES
        searched = self._searched_text(op.value, op.index)
        labels = {
            **field_labels.labels_of(op.value),
            SEARCHED: "no" if searched == NO_WORDS else "yes",
            **({} if op.ttl is None else {TTL_MINUTES: json.dumps(float(op.ttl))}),
            **({DEEP: "yes"} if is_deep else {}),
        }
        await client.upsert(
            self._namespace,
            key,
            encode(op.value, f"The value of {op.key!r}"),
            kind=MemoryKind.SEMANTIC,
            subject="" if is_deep else subject,
            labels=labels,
            ttl=None if op.ttl is None else timedelta(minutes=op.ttl),
            index_text=searched,
        )

    def _searched_text(self, value: Mapping[str, Any], index: Sequence[str] | bool | None) -> str:
        """Return the texts at the paths of the put, or else of the store."""
        if isinstance(index, bool):
            return NO_WORDS
        paths = self._fields if index is None else index
        return index_text(*(value if path == "$" else get_text_at_path(value, path) for path in paths))

    async def _search(self, client: MemoryClient, op: SearchOp) -> list[SearchItem]:
        conditions = op.filter or {}
        where = Filter(
            key_prefix=prefix_of(op.namespace_prefix),
            labels={SEARCHED: "yes"} if op.query else {},
            none_of=field_labels.candidates(conditions),
        )
        chosen: list[tuple[Memory, float | None]] = []
        end = op.offset + op.limit
        if end > op.offset:
            async with aclosing(self._matching(client, op.query or "", where, end)) as found:
                async for memory, score in found:
                    if field_labels.matches(json.loads(memory.text), conditions):
                        chosen.append((memory, score))
                    if len(chosen) == end:
                        break
        page = chosen[op.offset :]
        if op.refresh_ttl:
            await self._refresh(client, [memory for memory, _ in page])
        return [search_item_of(memory, score) for memory, score in page]

    async def _matching(
        self, client: MemoryClient, query: str, where: Filter, count: int
    ) -> AsyncGenerator[tuple[Memory, float | None], None]:
        """Yield memories with their scores: the best first, or without a query the last written first."""
        if not query:
            listed = client.list(
                self._namespace, where=where, order_by="event_time desc", page_size=min(count, MAX_PAGE)
            )
            async with aclosing(listed):
                async for memory in listed:
                    yield memory, None
            return
        page_token = ""
        while True:
            result = await client.recall(
                self._namespace, query, where=where, top_k=min(count, MAX_TOP_K), page_token=page_token
            )
            for hit in result.hits:
                yield hit.memory, hit.score
            page_token = result.next_page_token
            if not page_token:
                return

    async def _refresh(self, client: MemoryClient, memories: Sequence[Memory]) -> None:
        """Renew the lives of these memories; one that has expired meanwhile has been read in time."""

        async def touch(memory: Memory) -> None:
            try:
                await client.touch(memory.name, timedelta(minutes=float(memory.labels[TTL_MINUTES])))
            except NotFoundError as exc:
                if is_namespace_missing(exc, self._namespace):
                    raise

        await gather(touch(memory) for memory in memories if TTL_MINUTES in memory.labels)

    async def _list_namespaces(self, client: MemoryClient, op: ListNamespacesOp) -> list[Namespace]:
        conditions = op.match_conditions or ()
        literal = max((_literal_prefix(each) for each in conditions), key=len, default=())
        where = Filter(key_prefix=prefix_of(literal))
        namespaces = set()
        async for group in client.list_subjects(self._namespace, where=where, page_size=MAX_PAGE):
            if group.value:
                namespaces.add(tuple(group.value.split(".")))
        deep = Filter(key_prefix=where.key_prefix, conditions=(Condition(DEEP, "exists"),))
        async for memory in client.list(self._namespace, where=deep, page_size=MAX_PAGE):
            namespaces.add(parts_of(memory.key)[0])
        matching = (each for each in namespaces if all(_is_match(condition, each) for condition in conditions))
        shown = sorted({each[: op.max_depth] for each in matching})
        return shown[op.offset : op.offset + op.limit]


def key_of(namespace: Namespace, key: str) -> str:
    """Return the key of an item's memory: labels have no period and are not empty, so two periods end the namespace."""
    return f"{prefix_of(namespace)}.{key}"


def prefix_of(namespace: Namespace) -> str:
    """Return what the keys of all items in a namespace and below it begin with."""
    return ROOT + "".join(f"{label}." for label in namespace)


def parts_of(key: str) -> tuple[Namespace, str]:
    """Return the namespace and key of an item, given its memory's key."""
    namespace, _, item_key = key.removeprefix(ROOT).partition("..")
    return tuple(namespace.split(".")), item_key


def item_of(memory: Memory) -> Item:
    """Return the item of a memory."""
    namespace, key = parts_of(memory.key)
    return Item(
        value=json.loads(memory.text),
        key=key,
        namespace=namespace,
        created_at=memory.create_time,
        updated_at=memory.update_time,
    )


def search_item_of(memory: Memory, score: float | None) -> SearchItem:
    """Return the item of a memory that a search returned."""
    namespace, key = parts_of(memory.key)
    return SearchItem(namespace, key, json.loads(memory.text), memory.create_time, memory.update_time, score)


def _literal_prefix(condition: MatchCondition) -> Namespace:
    """Return the labels that every matching namespace begins with."""
    if condition.match_type != "prefix":
        return ()
    path = tuple(condition.path)
    return path[: path.index("*")] if "*" in path else path


def _is_match(condition: MatchCondition, namespace: Namespace) -> bool:
    path = tuple(condition.path)
    if len(path) > len(namespace):
        return False
    if condition.match_type not in {"prefix", "suffix"}:
        raise ValueError(f"match_type is {condition.match_type!r}; it must be 'prefix' or 'suffix'")
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(label in {"*", own} for label, own in zip(path, part, strict=True))
