"""pydantic-ai-harness' `MemoryStore`: versioned files as memories, searched by words and meaning.

    with SyncMemoryClient("localhost:50052") as client:
        agent = Agent(model, capabilities=[Memory(store=SomaBrainMemoryStore(client, "agents"))])

A file is a memory: its path is the key, its version the etag. An operation's receipt is a memory, too, for a week.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing
from datetime import timedelta

from pydantic_ai_harness.memory import (
    MemoryConflictError,
    MemoryFile,
    MemoryMutation,
    MemoryOperation,
    MemoryOperationConflictError,
    MemorySearchMatch,
    MemorySearchResult,
)

from somabrain_client.base_client import key_name
from somabrain_client.errors import AbortedError, AlreadyExistsError, NotFoundError
from somabrain_client.integrations.conversations import query_of
from somabrain_client.integrations.json_values import NO_WORDS, digest, encode, index_text
from somabrain_client.integrations.keyed_memories import get_or_none, is_namespace_missing
from somabrain_client.memory_client import MemoryClient
from somabrain_client.models import Filter, Memory, MemoryKind
from somabrain_client.sync_client import SyncMemoryClient

ROOT, RECEIPTS = "pydantic-ai:", "pydantic-ai-receipt:"
"""Begin the keys of files and of receipts, so that other memories may be in the same namespace."""
RECEIPT_TTL = timedelta(days=7)
MAX_METADATA_CHARS = 4096
MAX_PAGE, MAX_TOP_K = 1000, 200
SEGMENT = re.compile(r"(?!\.$)(?!.*\.\.)[A-Za-z0-9_.-]{1,200}")
ABSENT = "absent"

_Change = Callable[[MemoryClient, str], Coroutine[object, object, MemoryMutation]]
"""Makes a change with a request id; empty: a new one."""


class SomaBrainMemoryStore:
    """Files in a namespace of SomaBrain. Any event loop may use it."""

    def __init__(self, client: SyncMemoryClient, namespace: str) -> None:
        """Store the arguments; no call is made.

        Args:
            client: the connection, which the caller closes.
            namespace: an existing namespace of SomaBrain.
        """
        self._client = client
        self._namespace = namespace

    async def read(self, path: str, *, max_chars: int) -> MemoryFile | None:
        """Return the first `max_chars` characters of a file, with its version; None without a file."""
        check_path(path)
        _check_positive("max_chars", max_chars)
        memory = await self._client.run_async(lambda client: get_or_none(client, self._namespace, ROOT + path))
        if memory is None:
            return None
        document = json.loads(memory.text)
        content: str = document["content"]
        return MemoryFile(
            content=content[:max_chars],
            version=memory.etag,
            operation_id=document["operation"],
            truncated=len(content) > max_chars,
            metadata=document["metadata"],
        )

    async def get_operation(self, operation: MemoryOperation) -> MemoryMutation | None:
        """Return the result of an operation of the last week; None if there was not any.

        Raises:
            MemoryOperationConflictError: its id was used with another fingerprint.
        """
        return await self._client.run_async(lambda client: self._receipt(client, operation))

    async def write(
        self, path: str, content: str, *, expected_version: str | None, operation: MemoryOperation | None = None
    ) -> MemoryMutation:
        """Create a file (`expected_version` None), or replace it if its version is the expected one."""
        return await self.write_with_metadata(
            path, content, expected_version=expected_version, metadata=None, operation=operation
        )

    async def write_with_metadata(
        self,
        path: str,
        content: str,
        *,
        expected_version: str | None,
        metadata: Mapping[str, str] | None,
        operation: MemoryOperation | None = None,
    ) -> MemoryMutation:
        """Write as `write` does, and store metadata with this version.

        Raises:
            MemoryConflictError: the version is not the expected one.
            MemoryOperationConflictError: the operation's id was used with another fingerprint.
            ValueError: the path or the metadata is invalid.
        """
        check_path(path)
        check_metadata(metadata)
        operation_id = operation.id if operation else None
        document = {"content": content, "metadata": dict(metadata) if metadata else None, "operation": operation_id}

        async def put(client: MemoryClient, request_id: str) -> MemoryMutation:
            memory = await client.upsert(
                self._namespace,
                ROOT + path,
                encode(document, "content"),
                kind=MemoryKind.SEMANTIC,
                index_text=index_text(content),
                etag=expected_version or ABSENT,
                request_id=request_id,
            )
            return MemoryMutation(version=memory.etag, replayed=False, existed=expected_version is not None)

        return await self._mutate(path, put, operation)

    async def delete(
        self, path: str, *, expected_version: str | None, operation: MemoryOperation | None = None
    ) -> MemoryMutation:
        """Delete a file if its version is the expected one; None: there must not be a file.

        Raises:
            MemoryConflictError: the version is not the expected one.
            MemoryOperationConflictError: the operation's id was used with another fingerprint.
        """
        check_path(path)

        async def forget(client: MemoryClient, request_id: str) -> MemoryMutation:
            if expected_version is None:
                if await get_or_none(client, self._namespace, ROOT + path) is not None:
                    raise _conflict(path)
                return MemoryMutation(version=None, replayed=False, existed=False)
            await client.forget(key_name(self._namespace, ROOT + path), etag=expected_version, request_id=request_id)
            return MemoryMutation(version=None, replayed=False, existed=True)

        return await self._mutate(path, forget, operation)

    async def list_paths(self, prefix: str = "", *, limit: int) -> list[str]:
        """Return the first `limit` paths that begin with the prefix, in their order."""
        check_prefix(prefix)
        _check_positive("limit", limit)

        async def collect(client: MemoryClient) -> list[str]:
            where = Filter(key_prefix=ROOT + prefix)
            listed = client.list(self._namespace, where=where, order_by="key", page_size=min(limit, MAX_PAGE))
            paths: list[str] = []
            async with aclosing(listed):
                async for memory in listed:
                    paths.append(memory.key.removeprefix(ROOT))
                    if len(paths) == limit:
                        break
            return paths

        return await self._client.run_async(collect)

    async def search(
        self, prefix: str, query: str, *, limit: int, max_files: int, max_chars: int, max_file_chars: int
    ) -> MemorySearchResult:
        """Return the files directly below a prefix that match best, by words and by meaning, with a part of each.

        Args:
            prefix: begins the paths; files of a deeper prefix are left out.
            query: words or a question.
            limit: maximum matches.
            max_files: maximum files that are considered, of the ranking's candidates.
            max_chars: maximum characters of all paths and parts together.
            max_file_chars: characters of a file that a part is taken from.
        """
        check_prefix(prefix)
        text = query_of(query)
        if not text or min(limit, max_files, max_chars, max_file_chars) <= 0:
            return MemorySearchResult(matches=[], scanned=0, truncated=False)
        candidates, is_cut = await self._client.run_async(
            lambda client: self._candidates(client, prefix, text, limit, max_files)
        )
        matches: list[MemorySearchMatch] = []
        remaining = max_chars
        for memory, score in candidates[:limit]:
            path = memory.key.removeprefix(ROOT)
            content: str = json.loads(memory.text)["content"]
            is_cut = is_cut or len(content) > max_file_chars
            available = remaining - len(path) + len(prefix)
            if available <= 0:
                is_cut = True
                break
            snippet = snippet_of(content[:max_file_chars], text, available)
            matches.append(MemorySearchMatch(path=path, snippet=snippet, score=score))
            remaining = available - len(snippet)
        return MemorySearchResult(matches=matches, scanned=len(candidates), truncated=is_cut)

    async def _candidates(
        self, client: MemoryClient, prefix: str, query: str, limit: int, max_files: int
    ) -> tuple[list[tuple[Memory, float]], bool]:
        """Return the best files directly below the prefix, `limit` of them, and whether there were more."""
        found: list[tuple[Memory, float]] = []
        considered, page_token = 0, ""
        while True:
            result = await client.recall(
                self._namespace,
                query,
                where=Filter(key_prefix=ROOT + prefix),
                top_k=min(MAX_TOP_K, max_files - considered),
                page_token=page_token,
            )
            considered += len(result.hits)
            found += [
                (hit.memory, hit.score)
                for hit in result.hits
                if "/" not in hit.memory.key.removeprefix(ROOT + prefix) and hit.score > 0
            ]
            page_token = result.next_page_token
            if len(found) > limit or not page_token or considered >= max_files:
                return found[:limit], len(found) > limit or bool(page_token)

    async def _mutate(self, path: str, change: _Change, operation: MemoryOperation | None) -> MemoryMutation:
        """Make a change once for its operation.

        The receipt is stored after the change. If the process ends between the two, the same call again is answered
        from the server's own record of the request id, which it keeps for a day.
        """

        async def run(client: MemoryClient) -> MemoryMutation:
            if operation is None:
                return await self._checked(client, path, change, "")
            if (receipt := await self._receipt(client, operation)) is not None:
                return receipt
            request_id = digest("pydantic-ai", operation.id, operation.fingerprint)
            try:
                mutation = await self._checked(client, path, change, request_id)
            except MemoryConflictError:  # the same operation may have been made meanwhile
                if (receipt := await self._receipt(client, operation)) is not None:
                    return receipt
                raise
            document = {"fingerprint": operation.fingerprint, "version": mutation.version, "existed": mutation.existed}
            await client.upsert(
                self._namespace,
                RECEIPTS + operation.id,
                encode(document, "operation"),
                index_text=NO_WORDS,
                ttl=RECEIPT_TTL,
            )
            return mutation

        return await self._client.run_async(run)

    async def _checked(self, client: MemoryClient, path: str, change: _Change, request_id: str) -> MemoryMutation:
        try:
            return await change(client, request_id)
        except (AbortedError, AlreadyExistsError) as exc:
            raise _conflict(path) from exc
        except NotFoundError as exc:
            if is_namespace_missing(exc, self._namespace):
                raise
            raise _conflict(path) from exc

    async def _receipt(self, client: MemoryClient, operation: MemoryOperation) -> MemoryMutation | None:
        memory = await get_or_none(client, self._namespace, RECEIPTS + operation.id)
        if memory is None:
            return None
        document = json.loads(memory.text)
        if document["fingerprint"] != operation.fingerprint:
            raise MemoryOperationConflictError(f"operation id {operation.id!r} was reused with different arguments")
        return MemoryMutation(version=document["version"], replayed=True, existed=document["existed"])


def check_path(path: str) -> None:
    """Refuse a path that the framework's own stores refuse.

    Raises:
        ValueError: a part is not 1 to 200 of letters, digits and `_.-`, is a dot, or has two dots in a row.
    """
    if not all(SEGMENT.fullmatch(part) for part in path.split("/")):
        raise ValueError(
            f"invalid memory path: {path!r}; each part must be 1 to 200 of A-Z, a-z, 0-9, _, . and -, "
            "not a dot alone, and without two dots in a row"
        )


def check_prefix(prefix: str) -> None:
    """Refuse a prefix that is not empty and not a path, with or without a slash at its end."""
    if prefix:
        check_path(prefix.removesuffix("/"))


def check_metadata(metadata: Mapping[str, str] | None) -> None:
    """Refuse metadata that the framework's own stores refuse.

    Raises:
        TypeError: a key or value is not a text.
        ValueError: one has a NUL character, or its JSON is longer than 4,096 characters.
    """
    if not metadata:
        return
    texts = [*metadata, *metadata.values()]
    if not all(isinstance(each, str) for each in texts):
        raise TypeError("memory metadata keys and values must be strings")
    if any("\0" in each for each in texts):
        raise ValueError("memory metadata keys and values must not contain NUL characters")
    size = len(encode(dict(metadata), "metadata"))
    if size > MAX_METADATA_CHARS:
        raise ValueError(f"memory metadata is {size} characters as JSON; the limit is {MAX_METADATA_CHARS}")


def snippet_of(content: str, query: str, max_chars: int) -> str:
    """Return a part of a content, at most `max_chars` long, around the first word of the query that is in it."""
    lower = content.lower()
    places = [place for word in query.lower().split() if (place := lower.find(word)) >= 0]
    start = max(0, min(min(places, default=0) - max_chars // 3, len(content) - max_chars))
    return content[start : start + max_chars]


def _conflict(path: str) -> MemoryConflictError:
    return MemoryConflictError(f"memory path {path!r} is not as expected: it was changed, created or deleted meanwhile")


def _check_positive(name: str, value: int) -> None:
    if value <= 0:
        raise ValueError(f"{name} must be positive")
