"""Watches and exports: streams that resume automatically."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from somabrain.memory.v1 import memory_service_pb2 as pb
from somabrain_client.base_client import BaseClient, namespace_name
from somabrain_client.changes import Change, Checkpoint, ExportPage, event_from_proto, export_page_from_proto
from somabrain_client.models import Filter
from somabrain_client.proto_mapping import filter_to_proto


class Streams(BaseClient):
    """Streaming methods of MemoryService."""

    async def watch(
        self, namespace: str, *, cursor: str = "", include_memory: bool = False
    ) -> AsyncGenerator[Change | Checkpoint, None]:
        """Yield every change after the cursor once, in commit order, without an end.

        An empty cursor starts at the first checkpoint, which is sent at once. The stream resumes automatically when a
        server stops; to continue in another process, store the last event's cursor.
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
        """Yield all memories as of one version of the namespace, in pages; resume automatically when a server stops.

        Later changes are not included; a watch from a page's cursor yields them.
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
