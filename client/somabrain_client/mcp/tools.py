"""The tools: name, description, schemas, hints, and the call of the service that each makes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from mcp_types import Tool, ToolAnnotations

from somabrain_client.mcp import arguments as given
from somabrain_client.mcp import results
from somabrain_client.memory_client import MemoryClient
from somabrain_client.models import RecallResult

ArgumentsT = TypeVar("ArgumentsT", bound=given.Arguments)

READS: Final = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
ADDS: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
CHANGES: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False
)
DELETES: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)


@dataclass(frozen=True, slots=True)
class MemoryTool(Generic[ArgumentsT]):
    """A tool. `call` takes the client, the namespace and the arguments, and returns the structured result."""

    name: str
    title: str
    description: str
    arguments: type[ArgumentsT]
    output_schema: Mapping[str, Any]
    annotations: ToolAnnotations
    call: Callable[[MemoryClient, str, ArgumentsT], Awaitable[results.JsonObject]]

    def definition(self) -> Tool:
        """Return the tool as clients list it."""
        schema = self.arguments.model_json_schema()
        schema.pop("description", None)
        return Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=schema,
            output_schema=dict(self.output_schema),
            annotations=self.annotations,
        )


async def _remember(client: MemoryClient, namespace: str, options: given.Remember) -> results.JsonObject:
    memory = await client.remember(
        namespace,
        options.text,
        kind=given.KINDS[options.kind],
        session=options.session,
        subject=options.subject,
        labels=options.labels,
        key=options.key,
        event_time=options.event_time,
        salience=options.salience,
        ttl=options.ttl,
        pinned=options.pinned,
        index_text=options.index_text,
        request_id=options.request_id,
    )
    return results.memory_result(memory)


async def _recall(client: MemoryClient, namespace: str, options: given.Recall) -> results.JsonObject:
    result: RecallResult = await client.recall(
        namespace,
        options.query,
        top_k=options.limit,
        where=options.filter(),
        min_match=options.min_match,
        explain=options.explain,
        page_token=options.page_token,
    )
    return results.recall_result(result)


async def _list(client: MemoryClient, namespace: str, options: given.ListMemories) -> results.JsonObject:
    page = await client.list_page(
        namespace,
        where=options.filter(),
        order_by=options.order_by,
        page_size=options.limit,
        page_token=options.page_token,
    )
    return results.memories_result(page)


async def _get(client: MemoryClient, namespace: str, options: given.Get) -> results.JsonObject:
    return results.memory_result(await client.get(options.memory(namespace)))


async def _update(client: MemoryClient, namespace: str, options: given.Update) -> results.JsonObject:
    memory = await client.update(
        options.memory(namespace),
        text=options.text,
        kind=None if options.kind is None else given.KINDS[options.kind],
        session=options.session,
        subject=options.subject,
        labels=options.labels,
        key=options.new_key,
        event_time=options.event_time,
        salience=options.salience,
        ttl=options.ttl,
        pinned=options.pinned,
        index_text=options.index_text,
        etag=options.etag,
        allow_missing=options.allow_missing,
    )
    return results.memory_result(memory)


async def _forget(client: MemoryClient, namespace: str, options: given.Forget) -> results.JsonObject:
    name = options.memory(namespace)
    await client.forget(name, etag=options.etag)
    return results.forgotten_result(name)


async def _sessions(client: MemoryClient, namespace: str, options: given.ListSessions) -> results.JsonObject:
    page = await client.session_page(
        namespace, where=options.filter(), page_size=options.limit, page_token=options.page_token
    )
    return results.sessions_result(page)


TOOLS: Final[tuple[MemoryTool[Any], ...]] = (
    MemoryTool(
        "remember",
        "Remember a text",
        "Store a text as a memory. When this returns, it is durable and the next recall finds it.",
        given.Remember,
        results.MEMORY_SCHEMA,
        ADDS,
        _remember,
    ),
    MemoryTool(
        "recall",
        "Recall memories",
        "Find the memories that match a question best, by words and by meaning, best first. `best_match` is low when "
        "nothing stored answers the question: then say that you do not know.",
        given.Recall,
        results.RECALL_SCHEMA,
        READS,
        _recall,
    ),
    MemoryTool(
        "list",
        "List memories",
        "List memories, oldest first unless `order_by` says otherwise, without searching.",
        given.ListMemories,
        results.MEMORIES_SCHEMA,
        READS,
        _list,
    ),
    MemoryTool("get", "Get a memory", "Read one memory by name or key.", given.Get, results.MEMORY_SCHEMA, READS, _get),
    MemoryTool(
        "update",
        "Update a memory",
        "Change the given fields of one memory; all others stay as they are, and the former state stays as a revision. "
        "With `allow_missing` and a key, a memory that does not exist is created.",
        given.Update,
        results.MEMORY_SCHEMA,
        CHANGES,
        _update,
    ),
    MemoryTool(
        "forget",
        "Forget a memory",
        "Forget one memory permanently, with all its revisions. This cannot be undone.",
        given.Forget,
        results.FORGOTTEN_SCHEMA,
        DELETES,
        _forget,
    ),
    MemoryTool(
        "sessions",
        "List sessions",
        "List the conversations and tasks that memories belong to, with their numbers of memories and last times.",
        given.ListSessions,
        results.SESSIONS_SCHEMA,
        READS,
        _sessions,
    ),
)
