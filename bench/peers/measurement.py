"""The measurements: all systems run beside each other, and take turns in every round."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.peers import durability, memory
from bench.peers.client import Store, System
from bench.peers.client_group import ClientGroup, client_group
from bench.peers.systems import Running, running
from bench.peers.table import Row
from devcluster.progress import Progress

CLIENTS: Final = 8
WARM_S: Final = 1.0
SHARE: Final = 250
"""Memories that a client stores at once while a store is filled."""
NEAREST_QUESTIONS: Final = 50


@dataclass(frozen=True, slots=True)
class Shape:
    """Size of a run."""

    memories: int
    small: int
    per_session: int
    seconds: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Places:
    """Folders and programs of a run."""

    data: Path
    scratch: Path
    servers: dict[System, Path]
    programs: dict[System, Path]
    """Folder of the programs that run a system's clients."""
    peers: Path

    def python(self, system: System) -> Path:
        """Return the interpreter of a system's clients."""
        return self.programs[system] / "python"


@dataclass
class Started:
    """A running system with its clients."""

    system: System
    server: Running
    group: ClientGroup

    def processes(self) -> list[int]:
        """Return the processes that search: the server, or one client of a library."""
        return self.group.pids[:1] if self.server.process is None else [self.server.process]


@dataclass
class Report:
    """All results of a run."""

    rows: list[Row] = field(default_factory=list)
    versions: dict[System, str] = field(default_factory=dict)
    durability: dict[System, str] = field(default_factory=dict)
    nearest: dict[System, dict[str, object]] = field(default_factory=dict)
    vector_index_scans: int = 0
    """Number of searches of mem0 that its vector index answered."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of call: a latency of one client, or a rate of several."""

    title: str
    command: str
    store: Store
    clients: int

    @property
    def is_rate(self) -> bool:
        """True if the figure is calls a second of all clients together."""
        return self.clients > 1


def kinds(shape: Shape) -> list[Kind]:
    """Return all kinds of calls, in the order of the table."""
    some, many = f"{shape.small:,}", f"{shape.memories:,}"
    return [
        Kind(f"search among {some}, one client, p50", "search", Store.SMALL, 1),
        Kind(f"search among {many}, one client, p50", "search", Store.LARGE, 1),
        Kind(f"search among {many}, {CLIENTS} clients", "search", Store.LARGE, CLIENTS),
        Kind(f"search among {many} with the encoder, one client, p50", "search", Store.ENCODED, 1),
        Kind(f"search among {many} with the encoder, {CLIENTS} clients", "search", Store.ENCODED, CLIENTS),
        Kind("durable add, one client, p50", "add", Store.ADDED, 1),
        Kind(f"durable add, {CLIENTS} clients", "add", Store.ADDED, CLIENTS),
        Kind("durable add with the encoder, one client, p50", "add", Store.ADDED_ENCODED, 1),
        Kind(f"durable add with the encoder, {CLIENTS} clients", "add", Store.ADDED_ENCODED, CLIENTS),
    ]


def measure(shape: Shape, places: Places, progress: Progress) -> Report:
    """Run all systems, and return their figures."""
    report = Report()
    with ExitStack() as stack:
        started = [_start(system, shape, places, progress, stack) for system in System]
        memory_rows = _fill(started, shape, report, progress)
        report.rows = [_measure_calls(kind, started, shape, progress) for kind in kinds(shape)]
        report.rows += memory_rows
        _describe(started, shape, report)
    report.rows.append(_measure_starts(shape, places, progress))
    return report


def _start(system: System, shape: Shape, places: Places, progress: Progress, stack: ExitStack) -> Started:
    with progress.step(f"Start {system}"):
        server = stack.enter_context(running(system, places.servers[system], places.peers))
        group = stack.enter_context(client_group(system, places.python(system), places.data, places.scratch, CLIENTS))
        group.connect(server.address, shape.per_session)
        for store in Store:
            group.call("create", store=store)
    return Started(system, server, group)


def _fill(started: Sequence[Started], shape: Shape, report: Report, progress: Progress) -> list[Row]:
    """Fill the stores, and return the rows of memory after the first, before any encoder runs in a client."""
    rows = [
        Row(f"memory of the process that searches, after {shape.memories:,} (PSS)", " MiB"),
        Row("the same with its PostgreSQL", " MiB"),
    ]
    for each in started:
        if each.system is not System.EMPTY:
            with progress.step(f"Store {shape.memories:,} memories in {each.system}"):
                each.group.fill(Store.LARGE, shape.memories, SHARE)
                _analyze(each)
            if each.system is not System.PRODUCT:
                report.nearest[each.system] = each.group.call(
                    "nearest", store=Store.LARGE, among=shape.memories, questions=NEAREST_QUESTIONS
                )
        each.group.run(1, "search", WARM_S, store=Store.LARGE)
        own = memory.pss_mib(each.processes())
        rows[0].rounds.add(each.system, own)
        if each.server.postgres is not None:
            rows[1].rounds.add(each.system, own + memory.pss_mib(memory.postgres_processes(each.server.postgres)))
    for each in started:
        if each.system is not System.EMPTY:
            with progress.step(f"Store the memories of the other searches in {each.system}"):
                each.group.fill(Store.SMALL, shape.small, SHARE)
                each.group.fill(Store.ENCODED, shape.memories, SHARE)
                _analyze(each)
    return rows


def _analyze(each: Started) -> None:
    """Give mem0's searches the planner's statistics at once; the product needs none, it searches in memory."""
    if each.system is System.MEM0 and each.server.postgres is not None:
        durability.analyze(each.server.postgres)


def _measure_calls(kind: Kind, started: Sequence[Started], shape: Shape, progress: Progress) -> Row:
    row = Row(kind.title, "/s" if kind.is_rate else " ms")
    extra = {"first": shape.memories} if kind.command == "add" else {}
    for number in range(shape.rounds + 1):
        # The first, discarded round opens connections, loads the encoder and fills caches.
        seconds = shape.seconds if number else WARM_S
        # In another order each round, so that no system always follows the same one.
        order = [started[(number + index) % len(started)] for index in range(len(started))]
        with progress.step(f"{kind.title}: round {number} of {shape.rounds}"):
            for each in order:
                sample = each.group.run(kind.clients, kind.command, seconds, store=kind.store, **extra)
                if number:
                    row.rounds.add(each.system, sample.rate if kind.is_rate else sample.p50_ms)
    return row


def _describe(started: Sequence[Started], shape: Shape, report: Report) -> None:
    for each in started:
        reply = each.group.call("describe")
        report.versions[each.system] = str(reply["version"])
        data = each.server.postgres
        match each.system:
            case System.PRODUCT if data is not None:
                report.durability[each.system] = durability.of_product(data)
            case System.MEM0 if data is not None:
                report.durability[each.system] = durability.of_mem0(data, str(reply["durability"]))
                report.vector_index_scans = durability.vector_index_scans(data)
            case _:
                pass


def _measure_starts(shape: Shape, places: Places, progress: Progress) -> Row:
    """Measure the time from the start on the filled folder to the first answer; the systems take turns."""
    row = Row("start to the first answer, the data being there", " s")
    for number in range(shape.rounds):
        with progress.step(f"start to the first answer: round {number + 1} of {shape.rounds}"):
            for system in System:
                row.rounds.add(system, _time_to_first_answer(system, shape, places))
    return row


def _time_to_first_answer(system: System, shape: Shape, places: Places) -> float:
    with ExitStack() as stack:
        arguments = (system, places.python(system), places.data, places.scratch, 1)
        if system is System.MEM0:  # a library: its start is that of its process
            started_at = time.monotonic()
            server = stack.enter_context(running(system, places.servers[system], places.peers))
            group = stack.enter_context(client_group(*arguments))
        else:
            group = stack.enter_context(client_group(*arguments))
            started_at = time.monotonic()
            server = stack.enter_context(running(system, places.servers[system], places.peers))
        group.connect(server.address, shape.per_session)
        at = group.call("first_answer", store=Store.LARGE)["at"]
        assert isinstance(at, float)
        return at - started_at
