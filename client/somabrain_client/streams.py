"""Watches and exports: streams that resume by themselves."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from somabrain.memory.v1 import memory_service_pb2 as pb
from somabrain_client.base_client import BaseClient, namespace_name
from somabrain_client.changes import Change, Checkpoint, ExportPage, event_from_proto, export_page_from_proto
from somabrain_client.models import Filter
from somabrain_client.proto_mapping import filter_to_proto


class Streams(BaseClient):
    """The calls of MemoryService that stream."""

    async def watch(
        self, namespace: str, *, cursor: str = "", include_memory: bool = False
    ) -> AsyncGenerator[Change | Checkpoint, None]:
        """Yield every change after the cursor (empty: from now on) once, in commit order, without an end.

        It resumes by itself where a server stops. Keep the last event's cursor to go on from in another process.
        From now on means from the first checkpoint, which comes at once.
        """
        request = pb.WatchMemoriesRequest(
            parent=namespace_name(namespace), cursor=cursor, include_memory=include_memory
        )

        def resume(response: pb.WatchMemoriesResponse) -> None:
            request.cursor = response.cursor

        async with aclosing(self._transport.stream(self._memories.WatchMemories, request, resume)) as responses:
            async for response in responses:
                yield event_from_proto(response)

    async def export(
        self, namespace: str, *, where: Filter | None = None, include_vectors: bool = False, resume_token: str = ""
    ) -> AsyncGenerator[ExportPage, None]:
        """Yield all memories as of one version, in pages; it resumes by itself where a server stops.

        What changes meanwhile is left out; a watch from a page's cursor tells of it.
        """
        request = pb.ExportMemoriesRequest(
            parent=namespace_name(namespace),
            filter=filter_to_proto(where),
            include_vectors=include_vectors,
            resume_token=resume_token,
        )

        def resume(response: pb.ExportMemoriesResponse) -> None:
            request.resume_token = response.resume_token

        async with aclosing(self._transport.stream(self._memories.ExportMemories, request, resume)) as responses:
            async for response in responses:
                yield export_page_from_proto(response)
