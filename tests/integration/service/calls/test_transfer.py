"""Export, import and watch on the command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from somabrain_client import MemoryDraft, SyncMemoryClient
from tests.integration.service.answering import NESTED
from tests.integration.service.command_line import SCRIPT, run
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess

Cli = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def tenant() -> str:
    return uuid4().hex


@pytest.fixture
def client(brain: ServiceProcess, idp: Issuer, tenant: str) -> Iterator[SyncMemoryClient]:
    with SyncMemoryClient(brain.address, token=idp.token(tenant)) as client:
        client.create_namespace("from")
        client.create_namespace("to")
        yield client


@pytest.fixture
def command(brain: ServiceProcess, idp: Issuer, tenant: str, tmp_path: Path) -> list[str]:
    token = tmp_path / "token"
    token.write_text(idp.token(tenant))
    return [str(SCRIPT), "--address", brain.address, "--token-file", str(token)]


def fill(client: SyncMemoryClient, count: int) -> None:
    """Store memories with a value in every field."""
    client.batch_remember(
        "from",
        [
            MemoryDraft(
                f"Text {number} with 'quotes', é and\r\nlines.",
                session=f"s{number % 3}",
                subject="Ada",
                labels={"n": str(number)},
                salience=0.25,
                pinned=number % 2 == 0,
            )
            for number in range(count)
        ],
    )


def facts(client: SyncMemoryClient, namespace: str) -> list[tuple[object, ...]]:
    """The fields of all memories that an export and import preserve."""
    return sorted(
        (m.text, m.kind, m.session, m.session_position, m.subject, m.labels["n"], m.event_time, m.salience, m.pinned)
        for m in client.list(namespace)
    )


def test_import_reproduces_exported_memories(client: SyncMemoryClient, command: list[str], tmp_path: Path) -> None:
    """Every field that a caller may set survives export and import, to the byte and the microsecond."""
    fill(client, 50)
    file = tmp_path / "memories.jsonl"
    exported = run([*command, "export", "from", str(file)])
    assert exported.returncode == 0, exported.stderr
    assert b"somabrain watch from --cursor " in exported.stderr
    assert sorted(tmp_path.glob("memories.jsonl*")) == [file]
    imported = run([*command, "import", "to", str(file)])
    assert (imported.returncode, imported.stdout) == (0, b"imported: 50 memories\n"), imported.stderr
    assert facts(client, "to") == facts(client, "from")


def test_repeated_import_creates_no_duplicates(client: SyncMemoryClient, command: list[str], tmp_path: Path) -> None:
    """A second import of the same file adds nothing; two equal lines are still two memories."""
    file = tmp_path / "memories.jsonl"
    line = json.dumps({"memory": {"text": "alike"}})
    file.write_text(f"{line}\n{line}\n")
    for _ in range(2):
        assert run([*command, "import", "to", str(file)]).returncode == 0
    assert [memory.text for memory in client.list("to")] == ["alike", "alike"]


def test_invalid_import_lines_are_reported_by_number_and_others_stored(
    client: SyncMemoryClient, command: list[str]
) -> None:
    lines = b'{"memory": {"text": "good"}}\n\nnot json\n{"memory": {"txt": "typo"}}\n{"memory": {}}\n\xff\n'
    lines += b'{"memory": {"text": "too salient", "salience": 7}}\n' + NESTED.encode() + b"\n"
    done = run([*command, "import", "to", "-"], stdin=lines)
    assert (done.returncode, done.stdout) == (1, b"imported: 1 memories; failed: 6 lines, listed above\n")
    errors = done.stderr.decode()
    for part in ("line 3 is not a memory in JSON", "line 4 is not a memory in JSON", "line 5 has no memory.text"):
        assert part in errors
    assert "line 6 is not UTF-8" in errors
    assert "line 7 was rejected: INVALID_ARGUMENT" in errors
    assert "line 8 is not a memory in JSON" in errors
    assert [memory.text for memory in client.list("to")] == ["good"]


def test_interrupted_export_resumes(client: SyncMemoryClient, command: list[str], tmp_path: Path) -> None:
    """A run that finds a first page and half a line of an interrupted run completes the file."""
    for _ in range(3):
        fill(client, 500)
    file = tmp_path / "memories.jsonl"
    page = next(client.export("from"))
    assert len(page.memories) < 1500
    run([*command, "export", "from", str(tmp_path / "whole.jsonl")])
    whole = (tmp_path / "whole.jsonl").read_bytes()
    begun = b"".join(whole.splitlines(keepends=True)[: len(page.memories)])
    file.with_name("memories.jsonl.part").write_bytes(begun + b'{"memory": {"te')
    file.with_name("memories.jsonl.part.token").write_text(f"{page.resume_token} {len(begun)}")
    client.forget(page.memories[0].memory.name)  # what is new is left out; what was written stays
    done = run([*command, "export", "from", str(file)])
    assert done.returncode == 0, done.stderr
    assert file.read_bytes() == whole
    assert sorted(tmp_path.glob("memories.jsonl*")) == [file]


def test_watch_resumes_from_cursor_file(client: SyncMemoryClient, command: list[str], tmp_path: Path) -> None:
    """The next watch with the same cursor file shows once each change that was written in between."""
    cursor = tmp_path / "cursor"
    watch = [*command, "watch", "from", "--cursor-file", str(cursor), "--memory", "--json"]
    with subprocess.Popen(watch, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        while not cursor.exists():
            assert first.poll() is None
        client.remember("from", "seen by the first")
        assert json.loads(first.stdout.readline())["memory"]["text"] == "seen by the first"
        first.terminate()
    client.remember("from", "written while nobody watched")
    with subprocess.Popen(watch, stdout=subprocess.PIPE) as second:
        assert second.stdout is not None
        shown = [json.loads(second.stdout.readline())["memory"]["text"]]
        if shown == ["seen by the first"]:  # ended between the line and the note of its cursor
            shown = [json.loads(second.stdout.readline())["memory"]["text"]]
        second.terminate()
    assert shown == ["written while nobody watched"]


def test_cli_prints_json_output(client: SyncMemoryClient, command: list[str]) -> None:
    memory = client.remember("from", "The kiln was fired twice.")
    recalled = json.loads(run([*command, "recall", "from", "kiln", "--json"]).stdout)
    assert recalled["hits"][0]["memory"]["name"] == memory.name
    assert recalled["hits"][0]["breakdown"]["lexical_relative"] == 1.0
    assert json.loads(run([*command, "get", memory.name, "--json"]).stdout)["text"] == memory.text
