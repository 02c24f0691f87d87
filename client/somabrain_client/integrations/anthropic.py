"""Anthropic's memory tool (`memory_20250818`): files under /memories, each a memory with its path as its key.

    with SyncMemoryClient("localhost:50052") as memories:
        tool = SomaBrainMemoryTool(memories, "agents", subject="ada")
        runner = Anthropic().beta.messages.tool_runner(tools=[tool], ...)

It answers as the package's own `BetaLocalFilesystemMemoryTool` does, byte for byte.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Coroutine
from typing import TypeVar

from anthropic.lib.tools import BetaAbstractMemoryTool, BetaAsyncAbstractMemoryTool, ToolError
from anthropic.types.beta import (
    BetaMemoryTool20250818CreateCommand,
    BetaMemoryTool20250818DeleteCommand,
    BetaMemoryTool20250818InsertCommand,
    BetaMemoryTool20250818RenameCommand,
    BetaMemoryTool20250818StrReplaceCommand,
    BetaMemoryTool20250818ViewCommand,
)

from somabrain_client.errors import InvalidArgumentError, PermissionDeniedError, ResourceExhaustedError
from somabrain_client.integrations.memory_files import Entry, FileError, MemoryFiles
from somabrain_client.memory_client import MemoryClient
from somabrain_client.sync_client import SyncMemoryClient

ROOT = "anthropic:"
"""Begins the keys of files, so that other memories may be in the same namespace."""
DIRECTORY = "/memories"
DIRECTORY_SIZE = 4096
"""Bytes of a directory, as file systems such as ext4 have them."""
NUMBER_WIDTH = 6
MAX_DEPTH = 2
CONTEXT_LINES = 2

T = TypeVar("T")


class SomaBrainMemoryTool(BetaAbstractMemoryTool):
    """The memory tool for `Anthropic`. Any thread may use it."""

    def __init__(self, client: SyncMemoryClient, namespace: str, *, subject: str = "") -> None:
        """Store the arguments; no call is made.

        Args:
            client: the connection, which the caller closes.
            namespace: an existing namespace of SomaBrain.
            subject: whose memory it is, at most 256 bytes without a slash: each subject has separate files, which
                EraseSubject forgets. Empty: one memory for all.
        """
        super().__init__()
        self._client = client
        self._commands = _Commands(namespace, subject)

    def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        """Return a file's lines with their numbers, or the content of a directory, two levels deep."""
        return self._client.run(lambda client: _with_tool_errors(self._commands.view(client, command)))

    def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        """Create a file that is not there."""
        return self._client.run(lambda client: _with_tool_errors(self._commands.create(client, command)))

    def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        """Replace a text that is once in a file."""
        return self._client.run(lambda client: _with_tool_errors(self._commands.str_replace(client, command)))

    def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        """Insert a text after a line of a file."""
        return self._client.run(lambda client: _with_tool_errors(self._commands.insert(client, command)))

    def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        """Delete a file, or a directory with everything in it."""
        return self._client.run(lambda client: _with_tool_errors(self._commands.delete(client, command)))

    def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        """Rename or move a file or a directory."""
        return self._client.run(lambda client: _with_tool_errors(self._commands.rename(client, command)))

    def clear_all_memory(self) -> str:
        """Delete all files of the subject."""
        return self._client.run(lambda client: _with_tool_errors(self._commands.clear(client)))


class AsyncSomaBrainMemoryTool(BetaAsyncAbstractMemoryTool):
    """The memory tool for `AsyncAnthropic`. Any event loop may use it."""

    def __init__(self, client: SyncMemoryClient, namespace: str, *, subject: str = "") -> None:
        """Store the arguments, which are those of `SomaBrainMemoryTool`; no call is made."""
        super().__init__()
        self._client = client
        self._commands = _Commands(namespace, subject)

    async def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        """Return a file's lines with their numbers, or the content of a directory, two levels deep."""
        return await self._client.run_async(lambda client: _with_tool_errors(self._commands.view(client, command)))

    async def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        """Create a file that is not there."""
        return await self._client.run_async(lambda client: _with_tool_errors(self._commands.create(client, command)))

    async def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        """Replace a text that is once in a file."""
        return await self._client.run_async(
            lambda client: _with_tool_errors(self._commands.str_replace(client, command))
        )

    async def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        """Insert a text after a line of a file."""
        return await self._client.run_async(lambda client: _with_tool_errors(self._commands.insert(client, command)))

    async def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        """Delete a file, or a directory with everything in it."""
        return await self._client.run_async(lambda client: _with_tool_errors(self._commands.delete(client, command)))

    async def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        """Rename or move a file or a directory."""
        return await self._client.run_async(lambda client: _with_tool_errors(self._commands.rename(client, command)))

    async def clear_all_memory(self) -> str:
        """Delete all files of the subject."""
        return await self._client.run_async(lambda client: _with_tool_errors(self._commands.clear(client)))


async def _with_tool_errors(call: Coroutine[object, object, T]) -> T:
    """Await a command; what the model can do something about reaches it as the tool's error, in the server's words."""
    try:
        return await call
    except (InvalidArgumentError, PermissionDeniedError, ResourceExhaustedError) as exc:
        raise ToolError(exc.message) from exc
    except FileError as exc:
        raise ToolError(str(exc)) from exc


class _Commands:
    """The commands of the tool, in the words of the local one."""

    def __init__(self, namespace: str, subject: str) -> None:
        self._files = MemoryFiles(namespace, ROOT, subject, DIRECTORY)

    async def view(self, client: MemoryClient, command: BetaMemoryTool20250818ViewCommand) -> str:
        path = normal(command.path)
        content = await self._files.content(client, path)
        if content is not None:
            return f"Here's the content of {command.path} with line numbers:\n" + _numbered(content, command.view_range)
        if not await self._files.is_directory(client, path):
            raise ToolError(f"The path {command.path} does not exist. Please provide a valid path.")
        entries = shown(await self._files.entries(client, path))
        lines = [f"{size_text(DIRECTORY_SIZE)}\t{command.path}"]
        for entry in entries:
            is_directory = entry.size is None
            size = DIRECTORY_SIZE if entry.size is None else entry.size
            lines.append(f"{size_text(size)}\t{command.path}/{entry.path}{'/' * is_directory}")
        header = f"Here're the files and directories up to 2 levels deep in {command.path}, excluding hidden items:"
        return "\n".join([header, *lines])

    async def create(self, client: MemoryClient, command: BetaMemoryTool20250818CreateCommand) -> str:
        path = normal(command.path)
        try:
            await self._files.create(client, path, command.file_text)
        except FileExistsError as exc:
            raise ToolError(f"File {command.path} already exists") from exc
        return f"File created successfully at: {command.path}"

    async def str_replace(self, client: MemoryClient, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        changed_line = 0

        def change(content: str) -> str:
            nonlocal changed_line
            places = _places(content, command.old_str)
            if content.count(command.old_str) > 1:
                lines = ", ".join(str(content.count("\n", 0, place) + 1) for place in places)
                raise ToolError(
                    f"No replacement was performed. Multiple occurrences of old_str `{command.old_str}` in lines: "
                    f"{lines}. Please ensure it is unique"
                )
            if not places:
                raise ToolError(
                    f"No replacement was performed, old_str `{command.old_str}` did not appear verbatim in "
                    f"{command.path}."
                )
            changed_line = content.count("\n", 0, places[0])
            return content.replace(command.old_str, command.new_str)

        content = await self._change(client, command.path, change)
        first = max(0, changed_line - CONTEXT_LINES)
        snippet = content.split("\n")[first : changed_line + CONTEXT_LINES + 1]
        header = "The memory file has been edited. Here is the snippet showing the change (with line numbers):\n"
        return header + _with_numbers(snippet, first + 1)

    async def insert(self, client: MemoryClient, command: BetaMemoryTool20250818InsertCommand) -> str:
        def change(content: str) -> str:
            lines = content.removesuffix("\n").split("\n") if content else []
            if not 0 <= command.insert_line <= len(lines):
                raise ToolError(
                    f"Invalid `insert_line` parameter: {command.insert_line}. "
                    f"It should be within the range [0, {len(lines)}]."
                )
            lines.insert(command.insert_line, command.insert_text.rstrip("\n"))
            text = "\n".join(lines)
            return text if text.endswith("\n") else text + "\n"

        await self._change(client, command.path, change)
        return f"The file {command.path} has been edited."

    async def delete(self, client: MemoryClient, command: BetaMemoryTool20250818DeleteCommand) -> str:
        path = normal(command.path)
        if path == DIRECTORY:
            raise ToolError("Cannot delete the /memories directory itself")
        try:
            await self._files.delete(client, path)
        except FileNotFoundError as exc:
            raise ToolError(f"The path {command.path} does not exist") from exc
        return f"Successfully deleted {command.path}"

    async def rename(self, client: MemoryClient, command: BetaMemoryTool20250818RenameCommand) -> str:
        old, new = normal(command.old_path), normal(command.new_path)
        if old == DIRECTORY:
            raise ToolError("Cannot rename the /memories directory itself")
        taken = ToolError(f"The destination {command.new_path} already exists")
        if await self._files.content(client, new) is not None or await self._files.is_directory(client, new):
            raise taken
        try:
            await self._files.rename(client, old, new)
        except FileNotFoundError as exc:
            raise ToolError(f"The path {command.old_path} does not exist") from exc
        except FileExistsError as exc:
            raise taken from exc
        return f"Successfully renamed {command.old_path} to {command.new_path}"

    async def clear(self, client: MemoryClient) -> str:
        await self._files.clear(client, DIRECTORY)
        return "All memory cleared"

    async def _change(self, client: MemoryClient, path: str, change: Callable[[str], str]) -> str:
        try:
            return await self._files.change(client, normal(path), change)
        except FileNotFoundError as exc:
            if await self._files.is_directory(client, normal(path)):
                raise ToolError(f"The path {path} is not a file.") from exc
            raise ToolError(f"The path {path} does not exist. Please provide a valid path.") from exc


def normal(path: str) -> str:
    """Return the path without `.`, `..` and repeated slashes, as a file system resolves it.

    Raises:
        ToolError: it leads out of /memories, or has NUL.
    """
    if not path.startswith(DIRECTORY):
        raise ToolError(f"Path must start with /memories, got: {path}")
    if "\0" in path:
        raise ToolError(f"Path {path!r} has a NUL character; leave it out")
    below = path.removeprefix(DIRECTORY).lstrip("/")
    resolved = posixpath.normpath(f"{DIRECTORY}/{below}")
    if resolved != DIRECTORY and not resolved.startswith(f"{DIRECTORY}/"):
        raise ToolError(f"Path {path} would escape /memories directory")
    return resolved


def shown(entries: list[Entry]) -> list[Entry]:
    """Return the entries two levels deep at most, without hidden ones, each directory before what is in it."""
    visible = [
        entry
        for entry in entries
        if entry.path.count("/") < MAX_DEPTH and not any(part.startswith(".") for part in entry.path.split("/"))
    ]
    return sorted(visible, key=lambda entry: entry.path.split("/"))


def size_text(size: int) -> str:
    """Return a size in bytes as the local tool writes it: `0B`, `17B`, `1.5K`, `4K`."""
    power = min((size.bit_length() - 1) // 10, 3) if size else 0
    amount = size / 1024**power
    return f"{int(amount) if amount == int(amount) else f'{amount:.1f}'}{'BKMG'[power]}"


def _places(content: str, text: str) -> list[int]:
    """Return where a text begins, overlapping occurrences too."""
    return [place for place in range(len(content) + 1) if content.startswith(text, place)]


def _numbered(content: str, view_range: list[int] | None) -> str:
    lines = content.split("\n")
    first = 0
    if view_range and len(view_range) == 2:
        first = max(1, view_range[0]) - 1
        lines = lines[first : len(lines) if view_range[1] == -1 else view_range[1]]
    return _with_numbers(lines, first + 1)


def _with_numbers(lines: list[str], first: int) -> str:
    return "\n".join(f"{number:>{NUMBER_WIDTH}}\t{line}" for number, line in enumerate(lines, first))
