"""Anthropic's memory tool behaves as the package's own tool over local files, and stores the same files."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from anthropic.lib.tools import BetaAbstractMemoryTool, ToolError
from anthropic.lib.tools._beta_builtin_memory_tool import BetaLocalFilesystemMemoryTool
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from somabrain_client import SyncMemoryClient
from somabrain_client.errors import NotFoundError, UnauthenticatedError
from somabrain_client.integrations.anthropic import AsyncSomaBrainMemoryTool, SomaBrainMemoryTool
from tests.integrations.conftest import MakeTenant, Tenant
from tests.integrations.examples import run_example
from tests.integrations.platform import Platform

SEQUENCES = 1000

names = st.sampled_from(["a", "b", "B.md", ".hidden", "ä", "..", ".", "", "long name"])
paths = st.one_of(
    st.lists(names, max_size=4).map(lambda parts: "/".join(["/memories", *parts])),
    st.sampled_from(
        ["/memories", "/memories/", "/memoriesa", "/etc/passwd", "memories", "", "/memories/../../x", "/memories/a"]
    ),
)
texts = st.one_of(
    st.sampled_from(
        ["", "\n", "x", "tea\n", "one\ntwo\nthree\nfour\nfive\nsix\n", "a\0b", "\r\n", "x\n\n", "y" * 1500, "ääää\n"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=12),
)
numbers = st.integers(-3, 9)
commands = st.one_of(
    st.fixed_dictionaries(
        {"command": st.just("view"), "path": paths}, optional={"view_range": st.lists(numbers, max_size=3)}
    ),
    st.fixed_dictionaries({"command": st.just("create"), "path": paths, "file_text": texts}),
    st.fixed_dictionaries({"command": st.just("create"), "path": paths, "file_text": texts}),
    st.fixed_dictionaries({"command": st.just("str_replace"), "path": paths, "old_str": texts, "new_str": texts}),
    st.fixed_dictionaries({"command": st.just("insert"), "path": paths, "insert_line": numbers, "insert_text": texts}),
    st.fixed_dictionaries({"command": st.just("delete"), "path": paths}),
    st.fixed_dictionaries({"command": st.just("rename"), "old_path": paths, "new_path": paths}),
)


class Blocking:
    """The asynchronous tool, each command in a separate event loop."""

    def __init__(self, tool: AsyncSomaBrainMemoryTool) -> None:
        self._tool = tool

    def call(self, command: object) -> object:
        return asyncio.run(self._tool.call(command))

    def clear_all_memory(self) -> object:
        return asyncio.run(self._tool.clear_all_memory())


def answer(tool: Any, command: dict[str, object]) -> tuple[str, object]:
    """The tool's answer, or the text of its error; the operating system's errors, which name local paths, are one."""
    try:
        return "ok", tool.call(command)
    except ToolError as exc:
        return "error", exc.content
    except OSError:
        return "os error", ""


@pytest.fixture
def lexical(tenant: Tenant) -> Tenant:
    """The tenant with a namespace without an encoder."""
    tenant.client.create_namespace("lexical", encoder="lexical")
    return Tenant(tenant.name, tenant.token, tenant.client, "lexical")


@pytest.mark.timeout(1800)
def test_command_sequences_match_the_local_file_tool(lexical: Tenant) -> None:
    """Byte for byte, by both tools; where the local one raises a system error, ours has a message of its own."""
    tools = [
        SomaBrainMemoryTool(lexical.client, lexical.namespace, subject="sync"),
        Blocking(AsyncSomaBrainMemoryTool(lexical.client, lexical.namespace, subject="async")),
    ]
    statistics = {"sequences": 0, "commands": 0, "done": 0, "os errors": 0}

    @settings(max_examples=SEQUENCES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(commands, min_size=1, max_size=12), st.sampled_from(tools))
    def compare(sequence: list[dict[str, object]], tool: Any) -> None:
        assert tool.clear_all_memory() == "All memory cleared"
        statistics["sequences"] += 1
        with tempfile.TemporaryDirectory() as folder:
            local = BetaLocalFilesystemMemoryTool(folder)
            last: dict[str, object] = {"command": "view", "path": "/memories"}
            for command in [*sequence, last]:
                statistics["commands"] += 1
                expected, got = answer(local, command), answer(tool, command)
                statistics["done"] += expected[0] == "ok"
                if expected[0] == "os error":
                    statistics["os errors"] += 1
                    assert got[0] == "error", command
                else:
                    assert got == expected, command
            assert files(tool) == local_files(Path(folder))

    def files(tool: Any) -> dict[str, str | None]:
        prefix = f"anthropic:{'sync' if tool is tools[0] else 'async'}"
        found: dict[str, str | None] = {}
        for memory in lexical.client.list(lexical.namespace):
            if memory.key.startswith(f"{prefix}/memories/"):
                path = memory.key.removeprefix(prefix)
                is_escaped = memory.labels.get("json") == "yes"
                found[path] = None if path.endswith("/") else (json.loads(memory.text) if is_escaped else memory.text)
        return found

    def local_files(folder: Path) -> dict[str, str | None]:
        return {
            f"/{path.relative_to(folder)}{'/' * path.is_dir()}": None if path.is_dir() else path.read_bytes().decode()
            for path in (folder / "memories").rglob("*")
        }

    compare()
    print(statistics)
    assert statistics["sequences"] >= SEQUENCES


def test_example_runs_twice(platform: Platform, tmp_path: Path) -> None:
    for output in run_example("anthropic_tool.py", platform, tmp_path):
        assert "     1\tAda drinks green tea.\n" in output
        assert "error: The path /memories/missing.md does not exist. Please provide a valid path.\n" in output
        assert output.endswith("found by meaning: anthropic:ada/memories/tea.md\n")


def test_tool_declaration_matches_the_api(tenant: Tenant) -> None:
    for kind in (SomaBrainMemoryTool, AsyncSomaBrainMemoryTool):
        assert kind(tenant.client, tenant.namespace).to_dict() == {"type": "memory_20250818", "name": "memory"}


def make(tenant: Tenant, subject: str = "", namespace: str = "") -> BetaAbstractMemoryTool:
    return SomaBrainMemoryTool(tenant.client, namespace or tenant.namespace, subject=subject)


def create(tool: BetaAbstractMemoryTool, path: str, text: str) -> Any:
    return tool.call({"command": "create", "path": path, "file_text": text})


def view(tool: BetaAbstractMemoryTool, path: str) -> Any:
    return tool.call({"command": "view", "path": path})


def test_subjects_have_separate_files_and_erasure_deletes_them(tenant: Tenant) -> None:
    ada, bob = make(tenant, "ada"), make(tenant, "bob")
    create(ada, "/memories/notes/tea.md", "Ada drinks tea.")
    with pytest.raises(ToolError, match="does not exist"):
        view(bob, "/memories/notes/tea.md")
    create(bob, "/memories/notes/tea.md", "Bob does not.")
    assert tenant.client.erase_subject(tenant.namespace, "ada") == 2
    with pytest.raises(ToolError, match="does not exist"):
        view(ada, "/memories/notes/tea.md")
    assert "Bob does not." in view(bob, "/memories/notes/tea.md")


def test_subject_with_slash_is_refused(tenant: Tenant) -> None:
    with pytest.raises(ValueError, match="no slash"):
        make(tenant, "ada/memories")


def test_files_are_searchable_by_content(tenant: Tenant) -> None:
    tool = make(tenant)
    create(tool, "/memories/a.md", "Ada prefers green tea in the morning.")
    create(tool, "/memories/b.md", "The trains to Basel leave at nine.")
    (hit, *_) = tenant.client.recall(tenant.namespace, "What does Ada drink?").hits
    assert hit.memory.key == "anthropic:/memories/a.md"


def test_concurrent_edits_are_all_applied(tenant: Tenant) -> None:
    """Eight callers insert a line each into one file; of eight that create one file, one succeeds."""
    tool = make(tenant)
    create(tool, "/memories/log.md", "")
    start = threading.Barrier(8)

    def edit(number: int) -> Any:
        start.wait()
        tool.call({"command": "insert", "path": "/memories/log.md", "insert_line": 0, "insert_text": f"line {number}"})
        try:
            return create(tool, "/memories/new.md", str(number))
        except ToolError as exc:
            return exc.content

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(edit, range(8)))
    assert answers.count("File created successfully at: /memories/new.md") == 1
    shown = view(tool, "/memories/log.md")
    assert all(f"\tline {number}\n" in shown for number in range(8))


def test_server_errors_reach_the_model_as_text(tenant: Tenant) -> None:
    with pytest.raises(ToolError, match="text"):
        create(make(tenant), "/memories/long.md", "x" * 102_401)
    create(make(tenant), "/memories/fits.md", "x" * 102_400)


def test_files_survive_a_restart(tenant: Tenant, platform: Platform) -> None:
    create(make(tenant), "/memories/a.md", "before")
    platform.restart()
    assert view(make(tenant), "/memories/a.md").endswith("\tbefore")


def test_tenants_are_isolated(make_tenant: MakeTenant) -> None:
    mine, other = make_tenant(), make_tenant()
    create(make(mine), "/memories/a.md", "secret")
    with pytest.raises(NotFoundError):
        view(make(other, namespace=mine.namespace), "/memories/a.md")
    other.client.create_namespace(mine.namespace)
    with pytest.raises(ToolError, match="does not exist"):
        view(make(other, namespace=mine.namespace), "/memories/a.md")
    assert view(make(mine), "/memories/a.md").endswith("\tsecret")


def test_revoked_token_cannot_read_or_write(tenant: Tenant, platform: Platform) -> None:
    create(make(tenant), "/memories/a.md", "kept")
    platform.run("revoke", token=tenant.token)
    ends_at = time.monotonic() + 10
    while True:
        try:
            view(make(tenant), "/memories/a.md")
        except UnauthenticatedError:
            break
        assert time.monotonic() < ends_at, "the revoked token is still accepted"
        time.sleep(0.1)
    with pytest.raises(UnauthenticatedError):
        create(make(tenant), "/memories/b.md", "refused")
    with SyncMemoryClient(platform.address, token=platform.token(tenant.name)) as client:
        assert [memory.text for memory in client.list(tenant.namespace)] == ["kept"]


def test_read_only_tenant_can_only_read_and_the_model_is_informed(tenant: Tenant, platform: Platform) -> None:
    create(make(tenant), "/memories/a.md", "kept")
    platform.run("make_read_only", tenant=tenant.name)
    assert view(make(tenant), "/memories/a.md").endswith("\tkept")
    with pytest.raises(ToolError, match="read"):
        create(make(tenant), "/memories/b.md", "refused")


def test_quota_error_reaches_the_model_as_text(make_tenant: MakeTenant, platform: Platform) -> None:
    tool = make(make_tenant(limited=True))
    for number in range(platform.quota):
        create(tool, f"/memories/{number}", "x")
    with pytest.raises(ToolError, match=str(platform.quota)):
        create(tool, "/memories/more", "x")
    assert view(tool, "/memories/0").endswith("\tx")
