"""An upgrade from the previous version and back, with its data, while one of its clients continues to write."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from devcluster.loopback.server_process import free_ports
from devcluster.previous_release import PreviousRelease
from somabrain_client import Change, ChangeType, MemoryClient
from tests.integration.service.service_process import ServiceProcess, environment, run, service
from tests.support.clones import Clone

PROGRAM = Path(__file__).with_name("previous_client.py")
SETTINGS: Mapping[str, object] = {
    "auth__mode": "none",
    "policy__enabled": False,
    "grpc__host": "127.0.0.1",
    "grpc__drain_notice_s": 0.3,
    "http__host": "127.0.0.1",
    "http__port": 0,
    "encoder__kind": "lexical",
}


@dataclass(frozen=True)
class Writer:
    """The running client of the previous version, and its output."""

    process: subprocess.Popen[str]
    lines: queue.Queue[dict[str, object]]
    reader: threading.Thread

    def next(self) -> dict[str, object]:
        return self.lines.get(timeout=30)

    def next_entries(self, count: int = 20) -> list[int]:
        """The next `count` acknowledged entries; the client fails if one takes longer than its own retries."""
        return [int(str(self.next()["entry"])) for _ in range(count)]

    def stop(self) -> list[int]:
        """Stop the client, and return the remaining entries."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0
        self.reader.join(30)  # its last output has been read by now
        return [int(str(line["entry"])) for line in list(self.lines.queue)]


@contextmanager
def writer(previous: PreviousRelease, address: str) -> Iterator[Writer]:
    lines: queue.Queue[dict[str, object]] = queue.Queue()
    with subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", previous.python, PROGRAM, address],
        env=environment({}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def read_lines() -> None:
            for line in process.stdout or ():
                lines.put(json.loads(line))

        reader = threading.Thread(target=read_lines)
        reader.start()
        yield Writer(process, lines, reader)
        process.kill()
        reader.join()


async def people(address: str) -> list[tuple[object, ...]]:
    """Everything visible of the namespace `people`, including revisions and the order of recalled memories."""
    async with MemoryClient(address) as client:
        namespace = await client.get_namespace("people")
        memories = [memory async for memory in client.list("people", page_size=1000)]
        former = [[revision.text async for revision in client.revisions(memory.name)] for memory in memories]
        answer = await client.recall("people", "who kept the harbour light, Ada?", top_k=50)
        return [
            (namespace.name, namespace.language, namespace.recency_half_life, namespace.epoch),
            *((memory, *texts) for memory, texts in zip(memories, former, strict=True)),
            tuple(hit.memory.name for hit in answer.hits),
        ]


async def entries(address: str, cursor: str, count: int) -> list[str]:
    """The names of the first `count` changes after a cursor."""
    names: list[str] = []
    async with MemoryClient(address) as client:
        async for event in client.watch("log", cursor=cursor):
            if isinstance(event, Change):
                assert event.type is ChangeType.REMEMBERED
                names.append(event.name)
                if len(names) == count:
                    break
    return names


@pytest.fixture
def anonymous_settings(unmigrated: Clone) -> dict[str, object]:
    return {**SETTINGS, "postgres_dsn": unmigrated.app_dsn, "owner_dsn": unmigrated.owner_dsn}


def test_previous_version_is_a_separate_installation(previous: PreviousRelease) -> None:
    """The previous version is another installation, so that this version is not tested against itself."""
    done = subprocess.run(
        [previous.python, "-c", "import somabrain_service; print(somabrain_service.__file__)"],
        env=environment({}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).is_relative_to(previous.checkout)


@pytest.mark.timeout(300)
async def test_upgrade_and_rollback_lose_no_write_of_an_old_client(
    previous: PreviousRelease, anonymous_settings: dict[str, object], folder: Path
) -> None:
    """An upgrade and the rollback lose no write of an old client, which writes continuously.

    The schema is migrated under the old server, which stays ready; then both serve, then the new one alone, then the
    old one again. Every acknowledged entry is stored once, and a watch from the old server's cursor returns each of
    them, in order.
    """
    old_port, new_port = free_ports(2)
    with ExitStack() as stack:
        assert run(anonymous_settings, "migrate", python=previous.python).returncode == 0

        def start(port: int, python: Path | None = None) -> ServiceProcess:
            chosen = {} if python is None else {"python": python}
            running = stack.enter_context(service(folder, {**anonymous_settings, "grpc__port": port}, **chosen))
            running.wait_until_ready()
            return running

        old = start(old_port, previous.python)
        both = f"ipv4:///127.0.0.1:{old_port},127.0.0.1:{new_port}"
        old_client = stack.enter_context(writer(previous, both))
        cursor = str(old_client.next()["cursor"])
        before = await people(old.address)
        acknowledged = old_client.next_entries()

        migrated = run(anonymous_settings, "migrate")
        assert migrated.returncode == 0, migrated.stderr
        acknowledged += old_client.next_entries()
        assert old.get("/ready")[0] == 200
        assert await people(old.address) == before

        new = start(new_port)
        assert await people(new.address) == before
        acknowledged += old_client.next_entries()
        assert old.stop() == 0
        acknowledged += old_client.next_entries()
        assert await people(new.address) == before
        async with MemoryClient(new.address) as client:
            await client.remember("people", "Kept by the new version: the fog horn.", session="s1")
        with_new = await people(new.address)

        restarted = start(old_port, previous.python)
        acknowledged += old_client.next_entries()
        assert new.stop() == 0
        down = run(anonymous_settings, "migrate", f"--to={previous.schema}")
        assert down.returncode == 0, down.stderr
        acknowledged += old_client.next_entries()
        acknowledged += old_client.stop()
        assert await people(restarted.address) == with_new
        async with MemoryClient(restarted.address) as client:
            names = {memory.text: memory.name async for memory in client.list("log", page_size=1000)}
        assert acknowledged == list(range(len(acknowledged)))
        assert sorted(names) == sorted(f"entry {number}" for number in acknowledged)
        published = await entries(restarted.address, cursor, len(acknowledged))
        assert published == [names[f"entry {number}"] for number in acknowledged]


def test_downgrade_to_no_schema_is_refused(anonymous_settings: dict[str, object]) -> None:
    """A migration to no schema, which would delete every memory, is refused with the valid targets."""
    for number in ("0", "-1", "99", "base"):
        done = run(anonymous_settings, "migrate", f"--to={number}")
        assert done.returncode == 2
        assert "is not a schema of this version; valid are 1 to" in done.stderr
