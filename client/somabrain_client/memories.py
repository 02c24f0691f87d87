"""Memories: remember, recall, read, update and forget."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime, timedelta

from google.protobuf.field_mask_pb2 import FieldMask

from somabrain.memory.v1 import memory_pb2
from somabrain.memory.v1 import memory_service_pb2 as pb
from somabrain_client.base_client import BaseClient, key_name, namespace_name
from somabrain_client.errors import CallError, from_status
from somabrain_client.models import (
    Filter,
    Forgotten,
    Memory,
    MemoryDraft,
    MemoryGroup,
    MemoryGroupPage,
    MemoryKind,
    MemoryPage,
    RecallResult,
)
from somabrain_client.proto_mapping import (
    draft_to_proto,
    duration_to_proto,
    filter_to_proto,
    group_from_proto,
    memory_from_proto,
    recall_result_from_proto,
    timestamp_to_proto,
)


class Memories(BaseClient):
    """Unary methods of MemoryService."""

    async def remember(
        self,
        namespace: str,
        text: str,
        *,
        kind: MemoryKind = MemoryKind.EPISODIC,
        session: str = "",
        session_position: int | None = None,
        subject: str = "",
        labels: Mapping[str, str] | None = None,
        event_time: datetime | None = None,
        salience: float | None = None,
        expire_time: datetime | None = None,
        ttl: timedelta | None = None,
        pinned: bool = False,
        vector: Sequence[float] | None = None,
        request_id: str = "",
        key: str = "",
        index_text: str = "",
    ) -> Memory:
        """Store a text as a memory; when this returns, it is durable and visible to the next recall.

        Arguments that are not given take the contract's defaults. `vector` is computed by the caller with the
        namespace's encoder; None: the server encodes the text. `request_id` makes the write idempotent across calls;
        empty: each call is a new write. A time without a zone is the machine's local time. With a `key` that a memory
        of the namespace has, the call fails with AlreadyExistsError; `upsert` changes that memory. `index_text` is
        searched in place of the text, which may then be JSON.
        """
        draft = MemoryDraft(
            text=text,
            kind=kind,
            session=session,
            session_position=session_position,
            subject=subject,
            labels=labels or {},
            event_time=event_time,
            salience=salience,
            expire_time=expire_time,
            ttl=ttl,
            pinned=pinned,
            vector=vector,
            request_id=request_id,
            key=key,
            index_text=index_text,
        )
        request = draft_to_proto(draft, namespace_name(namespace))
        response = await self._transport.call(self._memories.Remember, request)
        return memory_from_proto(response.memory, response.consistency_token)

    async def batch_remember(self, namespace: str, drafts: Sequence[MemoryDraft]) -> tuple[Memory | CallError, ...]:
        """Store at most 500 texts of 3 MiB in total, each independently; return a memory or error per draft, in order.

        A draft without a request id is a new write in each call.
        """
        request = pb.BatchRememberRequest(
            parent=namespace_name(namespace), requests=[draft_to_proto(draft, "") for draft in drafts]
        )
        response = await self._transport.call(self._memories.BatchRemember, request)
        return tuple(
            from_status(result.error)
            if result.HasField("error")
            else memory_from_proto(result.memory, response.consistency_token)
            for result in response.results
        )

    async def recall(
        self,
        namespace: str,
        query: str = "",
        *,
        vector: Sequence[float] | None = None,
        top_k: int = 0,
        where: Filter | None = None,
        min_score: float | None = None,
        min_match: float | None = None,
        explain: bool = False,
        consistency_token: str = "",
        page_token: str = "",
        refresh_ttl: timedelta | None = None,
    ) -> RecallResult:
        """Return the memories with the best scores; `explain` adds the breakdown of each score and the words that met.

        With `min_match`, 0 to 1, there are no hits unless the result's `best_match` reaches it. `page_token`: the
        `next_page_token` of the same call before, for the hits that follow. `refresh_ttl` renews the lives of the
        returned memories, as `touch` does.
        """
        request = pb.RecallRequest(
            parent=namespace_name(namespace),
            query=query,
            vector=None if vector is None else memory_pb2.Vector(values=vector),
            top_k=top_k,
            filter=filter_to_proto(where),
            min_score=min_score,
            min_match=min_match,
            explain=explain,
            consistency_token=consistency_token,
            page_token=page_token,
            refresh_ttl=duration_to_proto(refresh_ttl),
        )
        return recall_result_from_proto(await self._transport.call(self._memories.Recall, request))

    async def upsert(
        self,
        namespace: str,
        key: str,
        text: str,
        *,
        kind: MemoryKind = MemoryKind.EPISODIC,
        session: str = "",
        session_position: int | None = None,
        subject: str = "",
        labels: Mapping[str, str] | None = None,
        event_time: datetime | None = None,
        salience: float | None = None,
        expire_time: datetime | None = None,
        ttl: timedelta | None = None,
        pinned: bool = False,
        vector: Sequence[float] | None = None,
        etag: str = "",
        request_id: str = "",
        index_text: str = "",
    ) -> Memory:
        """Store a text as the memory with this key: replace that memory with all its fields, or create it.

        The former memory becomes a revision. With the `etag` of a memory that was read, it is replaced only if that is
        the current one; with `"absent"` it is only created. A time without a zone is the machine's local time.
        """
        draft = MemoryDraft(
            text=text,
            kind=kind,
            session=session,
            session_position=session_position,
            subject=subject,
            labels=labels or {},
            event_time=event_time,
            salience=salience,
            expire_time=expire_time,
            ttl=ttl,
            pinned=pinned,
            vector=vector,
            request_id=request_id,
            index_text=index_text,
        )
        remember = draft_to_proto(draft, "")
        request = pb.UpdateMemoryRequest(
            memory=remember.memory,
            update_mask=FieldMask(paths=["*"]),
            vector=remember.vector if vector is not None else None,
            request_id=remember.request_id,
            allow_missing=True,
        )
        request.memory.name, request.memory.etag = key_name(namespace, key), etag
        response = await self._transport.call(self._memories.UpdateMemory, request)
        return memory_from_proto(response.memory, response.consistency_token)

    async def touch(self, name: str, ttl: timedelta) -> Memory:
        """Let a memory live at least `ttl` from now, without a revision or any other change; never shorten its life."""
        request = pb.TouchMemoryRequest(name=name, ttl=duration_to_proto(ttl))
        return memory_from_proto((await self._transport.call(self._memories.TouchMemory, request)).memory)

    async def list_sessions(
        self, namespace: str, *, where: Filter | None = None, page_size: int = 0, consistency_token: str = ""
    ) -> AsyncGenerator[MemoryGroup, None]:
        """Yield the sessions of the memories that match, in the order of their bytes; fetch pages as needed."""
        request = pb.ListSessionsRequest(
            parent=namespace_name(namespace),
            filter=filter_to_proto(where),
            page_size=page_size,
            consistency_token=consistency_token,
        )
        async for message in self._pages(self._memories.ListSessions, request, lambda page: page.sessions):
            yield group_from_proto(message)

    async def list_subjects(
        self, namespace: str, *, where: Filter | None = None, page_size: int = 0, consistency_token: str = ""
    ) -> AsyncGenerator[MemoryGroup, None]:
        """Yield the subjects of the memories that match, in the order of their bytes; fetch pages as needed."""
        request = pb.ListSubjectsRequest(
            parent=namespace_name(namespace),
            filter=filter_to_proto(where),
            page_size=page_size,
            consistency_token=consistency_token,
        )
        async for message in self._pages(self._memories.ListSubjects, request, lambda page: page.subjects):
            yield group_from_proto(message)

    async def get(self, name: str, *, consistency_token: str = "", refresh_ttl: timedelta | None = None) -> Memory:
        """Return one memory by name, or by key with `key_name`; `refresh_ttl` renews its life, as `touch` does."""
        request = pb.GetMemoryRequest(
            name=name, consistency_token=consistency_token, refresh_ttl=duration_to_proto(refresh_ttl)
        )
        return memory_from_proto((await self._transport.call(self._memories.GetMemory, request)).memory)

    async def list(
        self,
        namespace: str,
        *,
        where: Filter | None = None,
        order_by: str = "",
        page_size: int = 0,
        consistency_token: str = "",
        refresh_ttl: timedelta | None = None,
    ) -> AsyncGenerator[Memory, None]:
        """Yield memories, oldest first unless `order_by` is given; fetch pages as needed.

        `refresh_ttl` renews the lives of the memories, as `touch` does.
        """
        request = pb.ListMemoriesRequest(
            parent=namespace_name(namespace),
            filter=filter_to_proto(where),
            order_by=order_by,
            page_size=page_size,
            consistency_token=consistency_token,
            refresh_ttl=duration_to_proto(refresh_ttl),
        )
        async for message in self._pages(self._memories.ListMemories, request, lambda page: page.memories):
            yield memory_from_proto(message)

    async def list_page(
        self,
        namespace: str,
        *,
        where: Filter | None = None,
        order_by: str = "",
        page_size: int = 0,
        page_token: str = "",
    ) -> MemoryPage:
        """Return one page of memories, for programs that give the token of the next page to a caller of theirs.

        `page_token`: of the page before, with all other arguments unchanged; empty: the first page.
        """
        request = pb.ListMemoriesRequest(
            parent=namespace_name(namespace),
            filter=filter_to_proto(where),
            order_by=order_by,
            page_size=page_size,
            page_token=page_token,
        )
        response = await self._transport.call(self._memories.ListMemories, request)
        return MemoryPage(tuple(memory_from_proto(each) for each in response.memories), response.next_page_token)

    async def session_page(
        self, namespace: str, *, where: Filter | None = None, page_size: int = 0, page_token: str = ""
    ) -> MemoryGroupPage:
        """Return one page of the sessions of the memories that match; `page_token` as in `list_page`."""
        request = pb.ListSessionsRequest(
            parent=namespace_name(namespace),
            filter=filter_to_proto(where),
            page_size=page_size,
            page_token=page_token,
        )
        response = await self._transport.call(self._memories.ListSessions, request)
        return MemoryGroupPage(tuple(group_from_proto(each) for each in response.sessions), response.next_page_token)

    async def update(
        self,
        name: str,
        *,
        text: str | None = None,
        kind: MemoryKind | None = None,
        session: str | None = None,
        session_position: int | None = None,
        subject: str | None = None,
        labels: Mapping[str, str] | None = None,
        event_time: datetime | None = None,
        salience: float | None = None,
        expire_time: datetime | None = None,
        ttl: timedelta | None = None,
        pinned: bool | None = None,
        key: str | None = None,
        index_text: str | None = None,
        clear: Sequence[str] = (),
        vector: Sequence[float] | None = None,
        etag: str = "",
        request_id: str = "",
        allow_missing: bool = False,
    ) -> Memory:
        """Update the given fields; None leaves a field unchanged, and `clear` names fields to reset to their defaults.

        The former memory becomes a revision. `vector` is the caller's own for the changed text. With an `etag` the
        memory is changed only if the etag is the current one. With `allow_missing` and a name by key, a memory is
        created from the given fields if no memory has the key. A time without a zone is the machine's local time.
        """
        fields = {
            "text": text,
            "kind": kind,
            "session": session,
            "session_position": session_position,
            "subject": subject,
            "labels": labels,
            "event_time": event_time,
            "salience": salience,
            "expire_time": expire_time,
            "ttl": ttl,
            "pinned": pinned,
            "key": key,
            "index_text": index_text,
        }
        changed = [field for field, value in fields.items() if value is not None]
        request = pb.UpdateMemoryRequest(
            memory=memory_pb2.Memory(
                name=name,
                text=text or "",
                kind=memory_pb2.MemoryKind.ValueType(kind.value if kind else 0),
                session=session or "",
                session_position=session_position,
                subject=subject or "",
                labels=labels or {},
                event_time=timestamp_to_proto(event_time),
                salience=salience,
                expire_time=timestamp_to_proto(expire_time),
                ttl=duration_to_proto(ttl),
                pinned=bool(pinned),
                etag=etag,
                key=key or "",
                index_text=index_text or "",
            ),
            update_mask=FieldMask(paths=[*changed, *clear]),
            vector=None if vector is None else memory_pb2.Vector(values=vector),
            request_id=request_id or uuid.uuid4().hex,
            allow_missing=allow_missing,
        )
        response = await self._transport.call(self._memories.UpdateMemory, request)
        return memory_from_proto(response.memory, response.consistency_token)

    async def revisions(self, name: str, *, page_size: int = 0) -> AsyncGenerator[Memory, None]:
        """Yield the former revisions of a memory, newest first; fetch pages as needed."""
        request = pb.ListRevisionsRequest(parent=name, page_size=page_size)
        async for message in self._pages(self._memories.ListRevisions, request, lambda page: page.revisions):
            yield memory_from_proto(message)

    async def forget(self, name: str, *, etag: str = "", allow_missing: bool = False, request_id: str = "") -> str:
        """Forget one memory, permanently; return the consistency token."""
        request = pb.ForgetMemoryRequest(
            name=name, etag=etag, request_id=request_id or uuid.uuid4().hex, allow_missing=allow_missing
        )
        return (await self._transport.call(self._memories.ForgetMemory, request)).consistency_token

    async def forget_where(
        self, namespace: str, where: Filter, *, max_count: int = 0, dry_run: bool = False, request_id: str = ""
    ) -> Forgotten:
        """Forget the memories that match, permanently and oldest first, at most `max_count` (0: 10,000) of them.

        `dry_run`: only count them.
        """
        request = pb.ForgetMemoriesRequest(
            parent=namespace_name(namespace),
            filter=filter_to_proto(where),
            max_count=max_count,
            dry_run=dry_run,
            request_id=request_id or uuid.uuid4().hex,
        )
        response = await self._transport.call(self._memories.ForgetMemories, request)
        return Forgotten(response.forgotten_count, response.matching_count, response.consistency_token)

    async def batch_forget(
        self, namespace: str, names: Sequence[str], *, allow_missing: bool = False
    ) -> tuple[CallError | None, ...]:
        """Forget at most 500 memories, each independently; return None or an error per name, in order."""
        request = pb.BatchForgetRequest(
            parent=namespace_name(namespace),
            requests=[
                pb.ForgetMemoryRequest(name=name, request_id=uuid.uuid4().hex, allow_missing=allow_missing)
                for name in names
            ],
        )
        response = await self._transport.call(self._memories.BatchForget, request)
        return tuple(from_status(result.status) if result.status.code else None for result in response.results)
