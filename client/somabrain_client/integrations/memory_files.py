"""Files and directories whose paths are keys of memories.

A file `/memories/a/b.txt` is a memory with the key ROOT + subject + that path; a directory `/memories/a` one whose key
ends with a slash, so that it stays when its last file goes. A call on one file is atomic; a directory is renamed file
by file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from somabrain_client.base_client import key_name
from somabrain_client.errors import AbortedError, AlreadyExistsError, NotFoundError
from somabrain_client.integrations.json_values import NO_WORDS
from somabrain_client.integrations.keyed_memories import gather, get_or_none
from somabrain_client.memory_client import MemoryClient
from somabrain_client.models import Filter, Memory, MemoryKind

ESCAPED = "json"
"""Label of a file whose text is JSON of its content: one that is empty, or has NUL."""
MAX_ATTEMPTS = 20
"""Attempts of a change while others change the same file."""
SIBLINGS_PAGE = 200


class FileError(Exception):
    """A file cannot be used in this way; the message gives the reason."""


class NotADirectory(FileError):
    """A part of a path before its last is a file."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file with its size in bytes, or a directory (size None); `path` is relative to the listed directory."""

    path: str
    size: int | None


class MemoryFiles:
    """The files of one subject in a namespace. Paths are normal and within `top`: `/top/a`, no slash at the end."""

    def __init__(self, namespace: str, root: str, subject: str, top: str) -> None:
        """Store the arguments.

        Args:
            namespace: the namespace of SomaBrain.
            root: begins the keys of all files, of every subject.
            subject: whose files they are.
            top: path of the directory that is always there.

        Raises:
            ValueError: the subject has a slash, which would mix its files with another's.
        """
        if "/" in subject:
            raise ValueError(f"subject is {subject!r}; it must have no slash")
        self._namespace = namespace
        self._subject = subject
        self._prefix = root + subject
        self._top = top

    async def is_directory(self, client: MemoryClient, path: str) -> bool:
        """Return whether a directory is there; the topmost always is."""
        if path == self._top:
            return True
        below = client.list(self._namespace, where=Filter(key_prefix=self._key(path) + "/"), page_size=1)
        try:
            return await anext(below, None) is not None
        finally:
            await below.aclose()

    async def content(self, client: MemoryClient, path: str) -> str | None:
        """Return the content of a file; None if there is no file."""
        memory = await get_or_none(client, self._namespace, self._key(path))
        return None if memory is None else _content_of(memory)

    async def entries(self, client: MemoryClient, path: str) -> list[Entry]:
        """Return everything below a directory, in the order of the keys' bytes."""
        prefix = self._key(path) + "/"
        listed = client.list(self._namespace, where=Filter(key_prefix=prefix), order_by="key", page_size=SIBLINGS_PAGE)
        entries = []
        async for memory in listed:
            relative = memory.key.removeprefix(prefix)
            if relative.endswith("/"):
                entries.append(Entry(relative.removesuffix("/"), None))
            elif relative:
                entries.append(Entry(relative, len(_content_of(memory).encode())))
        return entries

    async def create(self, client: MemoryClient, path: str, content: str) -> None:
        """Create a file, and the directories above it.

        Raises:
            FileExistsError: something has this path.
            NotADirectory: a file is in the place of a directory above it.
        """
        if path == self._top:
            raise FileExistsError(path)
        await self.make_directories(client, _parent(path))
        if await self.is_directory(client, path):
            raise FileExistsError(path)
        try:
            await self._write(client, path, content, etag="absent")
        except AlreadyExistsError as exc:
            raise FileExistsError(path) from exc

    async def change(self, client: MemoryClient, path: str, change: Callable[[str], str]) -> str:
        """Replace the content of a file by what `change` makes of it, and return it; changes at once follow each other.

        Raises:
            FileNotFoundError: there is no file.
            FileError: others changed it each time.
        """
        for _ in range(MAX_ATTEMPTS):
            memory = await get_or_none(client, self._namespace, self._key(path))
            if memory is None:
                raise FileNotFoundError(path)
            content = change(_content_of(memory))
            try:
                await self._write(client, path, content, etag=memory.etag)
            except AbortedError:
                continue
            return content
        raise FileError(f"{path} was changed by others {MAX_ATTEMPTS} times meanwhile; try again")

    async def delete(self, client: MemoryClient, path: str) -> None:
        """Delete a file, or a directory with everything in it.

        Raises:
            FileNotFoundError: nothing has this path.
        """
        try:
            await client.forget(key_name(self._namespace, self._key(path)))
        except NotFoundError:
            if not await self.is_directory(client, path):
                raise FileNotFoundError(path) from None
            await self.clear(client, path)

    async def clear(self, client: MemoryClient, path: str) -> None:
        """Delete a directory with everything in it; the topmost stays, empty."""
        where = Filter(key_prefix=self._key(path) + "/")
        while True:
            forgotten = await client.forget_where(self._namespace, where)
            if forgotten.count == forgotten.matching:
                return

    async def rename(self, client: MemoryClient, old: str, new: str) -> None:
        """Move a file, or a directory with everything in it, to a path that nothing has.

        Raises:
            FileNotFoundError: nothing has the old path.
            FileError: the new path is within the old one.
            NotADirectory: a file is in the place of a directory above the new path.
        """
        await self.make_directories(client, _parent(new))
        if new.startswith(f"{old}/"):
            raise FileError(f"{old} cannot be moved into itself")
        try:
            await client.update(key_name(self._namespace, self._key(old)), key=self._key(new))
        except AlreadyExistsError as exc:
            raise FileExistsError(new) from exc
        except NotFoundError:
            await self._rename_directory(client, old, new)

    async def _rename_directory(self, client: MemoryClient, old: str, new: str) -> None:
        prefix = self._key(old) + "/"
        below = [memory async for memory in client.list(self._namespace, where=Filter(key_prefix=prefix))]
        if not below:
            raise FileNotFoundError(old)
        moved = self._key(new) + "/"
        await gather(client.update(each.name, key=moved + each.key.removeprefix(prefix)) for each in below)

    async def make_directories(self, client: MemoryClient, path: str) -> None:
        """Create a directory and those above it, where they are missing.

        Raises:
            NotADirectory: a file is in the place of one of them.
        """
        missing = []
        current = path
        while not await self.is_directory(client, current):
            if await get_or_none(client, self._namespace, self._key(current)) is not None:
                raise NotADirectory(f"{current} is a file, not a directory")
            missing.append(current)
            current = _parent(current)
        for directory in reversed(missing):
            key = self._key(directory) + "/"
            await client.upsert(
                self._namespace, key, NO_WORDS, kind=MemoryKind.SEMANTIC, subject=self._subject, index_text=NO_WORDS
            )

    async def _write(self, client: MemoryClient, path: str, content: str, etag: str) -> None:
        escaped = not content or "\0" in content
        words = content.replace("\0", " ").strip()
        await client.upsert(
            self._namespace,
            self._key(path),
            json.dumps(content, ensure_ascii=False) if escaped else content,
            kind=MemoryKind.SEMANTIC,
            subject=self._subject,
            labels={ESCAPED: "yes"} if escaped else {},
            index_text=(words or NO_WORDS) if escaped else "",
            etag=etag,
        )

    def _key(self, path: str) -> str:
        return self._prefix + path


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _content_of(memory: Memory) -> str:
    if ESCAPED not in memory.labels:
        return memory.text
    content: str = json.loads(memory.text)
    return content
