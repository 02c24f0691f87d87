"""Changes of references are detected by watches, or by polling."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hypothesis import given
from hypothesis import strategies as st

from common.errors import OutOfRange
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.kinds import Kind
from somabrain_operator.kube.names import Key
from somabrain_operator.kube.objects import Manifest
from somabrain_operator.references.catalog import Reference
from somabrain_operator.references.poller import MIN_INTERVAL_S, READS_PER_S, ReferencePoller, poll_interval_s
from somabrain_operator.references.resolved import ResolvedReference
from somabrain_operator.references.resolver import resolve
from somabrain_operator.references.tracked import Target, TrackedReferences
from somabrain_operator.references.watcher import ReferenceWatcher

A, B = Key("demo", "a"), Key("demo", "b")
SHARED, OWN = (Reference("Secret", name, "spec.database.secretRef", ("app-dsn",)) for name in ("shared", "own"))
SHARED_TARGET, OWN_TARGET = Target("Secret", "demo", "shared"), Target("Secret", "demo", "own")


@given(st.integers(0, 100_000), st.floats(1, 3600))
def test_poll_interval_bounds_reads_per_second(references: int, longest_s: float) -> None:
    pace = poll_interval_s(references, longest_s)
    assert pace <= longest_s
    assert references / pace <= READS_PER_S * 1.001 or pace == longest_s


@given(st.integers(0, 150), st.floats(MIN_INTERVAL_S, 3600))
def test_poll_interval_has_minimum_for_few_references(references: int, longest_s: float) -> None:
    assert poll_interval_s(references, longest_s) == MIN_INTERVAL_S


def read(reference: Reference, version: int) -> ResolvedReference:
    """Return a reference as read at a version; 0: the object does not exist."""
    return ResolvedReference(reference, exists=version > 0, version=version, secrets=("hunter22",))


def test_users_follow_current_specs() -> None:
    """The index follows specs: a removed reference and a deleted resource leave no entry."""
    tracked = TrackedReferences()
    tracked.track(A, "u", (read(SHARED, 5), read(OWN, 6)))
    tracked.track(B, "u", (read(SHARED, 5),))
    assert set(tracked.users(SHARED_TARGET)) == {A, B}
    tracked.track(A, "u", (read(OWN, 6),))
    assert (tracked.users(SHARED_TARGET), tracked.users(OWN_TARGET)) == ((B,), (A,))
    tracked.untrack(A)
    tracked.untrack(B)
    assert (tracked.users(SHARED_TARGET), tracked.users(OWN_TARGET), list(tracked.keys)) == ((), (), [])


def test_expected_reference_is_tracked_before_read() -> None:
    """A change during a read is not lost: the resource is tracked before the read, and is stale after it."""
    tracked = TrackedReferences()
    tracked.expect(A, (OWN,))
    assert tracked.users(OWN_TARGET) == (A,)
    assert tracked.is_stale(A, OWN_TARGET, 7, deleted=False)
    tracked.track(A, "u", (read(OWN, 6),))
    assert tracked.is_stale(A, OWN_TARGET, 7, deleted=False)
    tracked.track(A, "u", (read(OWN, 7),))
    assert not tracked.is_stale(A, OWN_TARGET, 7, deleted=False)


def test_reference_is_stale_only_after_newer_change() -> None:
    """Older events and deletions of missing objects are ignored; creation, change and deletion make it stale."""
    tracked = TrackedReferences()
    tracked.track(A, "u", (read(SHARED, 5), read(OWN, 0)))
    stale = {
        (target, version, deleted): tracked.is_stale(A, target, version, deleted=deleted)
        for target in (SHARED_TARGET, OWN_TARGET)
        for version in (4, 5, 6)
        for deleted in (False, True)
    }
    assert {each for each, is_stale in stale.items() if is_stale} == {
        (SHARED_TARGET, 6, False),
        (SHARED_TARGET, 6, True),
        *((OWN_TARGET, version, False) for version in (4, 5, 6)),
    }
    assert not tracked.is_stale(A, Target("Secret", "demo", "other"), 9, deleted=False)


def test_older_of_two_reads_determines_staleness() -> None:
    """Two fields may name one object, and it may change between their reads."""
    tracked = TrackedReferences()
    tracked.track(A, "u", (read(SHARED, 6), read(SHARED, 5)))
    assert tracked.is_stale(A, SHARED_TARGET, 6, deleted=False)


def test_tracked_references_contain_no_secret() -> None:
    """A tracked reference has no secret in it."""
    tracked = TrackedReferences()
    tracked.track(A, "u", (read(OWN, 6),))
    assert "hunter22" not in repr(vars(tracked))
    resource = tracked.get(A)
    assert resource is not None
    assert [each.secrets for each in resource.resolved] == [()]


class CompactedCluster(Cluster):
    """An API server that ends the first watch because its version is too old, and sends one event in the second."""

    def __init__(self) -> None:
        self.begun_at: list[str] = []
        self.has_begun_again = asyncio.Event()

    async def collection_version(self, kind: Kind, namespace: str) -> str:
        return str(100 + len(self.begun_at))

    @asynccontextmanager
    async def watch_metadata(
        self, kind: Kind, namespace: str, version: str
    ) -> AsyncIterator[AsyncIterator[tuple[str, Manifest]]]:
        self.begun_at.append(version)
        if len(self.begun_at) == 3:
            self.has_begun_again.set()
        yield self._events(len(self.begun_at))

    async def _events(self, number: int) -> AsyncIterator[tuple[str, Manifest]]:
        metadata = {"namespace": "demo", "name": "own", "resourceVersion": str(200 + number)}
        yield "MODIFIED", {"metadata": metadata}
        if number == 1:
            raise OutOfRange("too old resource version")
        await asyncio.sleep(3600)


async def test_expired_watch_restarts_and_reports_gap() -> None:
    """A watch whose version is too old restarts at the current one, and reports that events may be missing."""
    cluster, tracked = CompactedCluster(), TrackedReferences()
    tracked.track(A, "u", (read(OWN, 6),))
    watcher = ReferenceWatcher(cluster, tracked, ())
    gaps: list[str] = []
    enqueued: list[Key] = []
    task = asyncio.create_task(
        watcher.run(lambda key, is_stale: enqueued.append(key) if is_stale() else None, gaps.append)
    )
    await watcher.wait_for_first_attempt()
    async with asyncio.timeout(10):
        await cluster.has_begun_again.wait()
        await asyncio.sleep(0)
    assert gaps == ["*"] * 3, "one at the start of each of two watches, and one after the gap"
    assert set(enqueued) == {A}
    assert watcher.covers_all()
    assert watcher.covers("Secret", "demo")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not watcher.covers("Secret", "demo")


class CoveringWatcher(ReferenceWatcher):
    """A watcher that covers every reference; gaps are reported by the tests."""

    def covers_all(self) -> bool:
        return True

    def covers(self, kind: str, namespace: str) -> bool:
        return True


class StoredCluster(Cluster):
    """A cluster with one Secret, which counts its reads."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.reads: list[str] = []

    async def get(self, kind: Kind, namespace: str, name: str, *, newest: bool = True) -> Manifest | None:
        self.reads.append(f"{namespace}/{name}{' newest' if newest else ''}")
        return {"data": {"app-dsn": base64.b64encode(self.dsn.encode()).decode()}, "metadata": {"resourceVersion": "9"}}


async def test_change_during_watch_gap_is_detected_by_one_read() -> None:
    """Watched references are read once after a gap in their namespace; a changed one is enqueued."""
    cluster, tracked = StoredCluster("postgresql://new@pg/s"), TrackedReferences()
    tracked.track(A, "u", await resolve(StoredCluster("postgresql://old@pg/s"), A, "u", (OWN,)))
    elsewhere = Key("elsewhere", "c")
    tracked.track(elsewhere, "u", (read(OWN, 6),))
    poller = ReferencePoller(cluster, tracked, CoveringWatcher(cluster, tracked, ()), 0.1)
    enqueued: asyncio.Queue[Key] = asyncio.Queue()
    poller.read_once("demo")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(poller.run(enqueued.put_nowait))
        assert await enqueued.get() == A
        await asyncio.sleep(1.5)
        task.cancel()
    assert (cluster.reads, enqueued.empty()) == (["demo/own newest"], True)
