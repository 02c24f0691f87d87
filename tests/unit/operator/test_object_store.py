"""The store reflects the watches: an older version never replaces a newer one, and deleted objects do not stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from somabrain_operator.informer.store import ObjectRef, ObjectStore
from somabrain_operator.kube.names import KIND, Key

KEY = Key("demo", "quickstart")
DEPLOYMENT = ObjectRef("Deployment", "demo", "quickstart-server")


def child(version: int, name: str = "quickstart-server", **spec: Any) -> dict[str, Any]:
    owner = {"kind": "SomaBrain", "name": "quickstart", "uid": "u", "controller": True}
    metadata = {
        "namespace": "demo",
        "name": name,
        "uid": name,
        "resourceVersion": str(version),
        "ownerReferences": [owner],
    }
    return {"metadata": metadata, "spec": spec}


def enqueued(cache: ObjectStore, kind: str, event: str | None, manifest: Mapping[str, Any]) -> tuple[Key, ...]:
    """Return the keys that an event enqueues."""
    keys: list[Key] = []
    cache.on_watch_event(kind, event, manifest, lambda key, _still_relevant: keys.append(key))
    return tuple(keys)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def cached_spec(cache: ObjectStore) -> Any:
    live = cache.get(*DEPLOYMENT)
    return live and live["spec"]


def test_newer_version_is_stored_and_enqueues_owner() -> None:
    """A newer version is stored and enqueues its owner; the same version again does not."""
    cache = ObjectStore()
    assert enqueued(cache, "Deployment", "ADDED", child(5, replicas=1)) == (KEY,)
    assert enqueued(cache, "Deployment", "MODIFIED", child(6, replicas=2)) == (KEY,)
    assert enqueued(cache, "Deployment", "MODIFIED", child(6, replicas=2)) == ()
    assert cached_spec(cache) == {"replicas": 2}


def test_event_older_than_write_enqueues_without_replacing() -> None:
    """An event older than our write does not replace it, but enqueues its owner: the edit was not reconciled yet."""
    cache = ObjectStore()
    enqueued(cache, "Deployment", "ADDED", child(5))
    cache.on_write("Deployment", child(7, replicas=3))
    assert enqueued(cache, "Deployment", "MODIFIED", child(6, replicas=9)) == (KEY,)
    assert cached_spec(cache) == {"replicas": 3}


def test_event_of_own_write_is_not_relevant() -> None:
    """The event of our own write is recognised, even when it comes before the write's response."""
    cache, relevant = ObjectStore(), list[Callable[[], bool]]()
    cache.on_watch_event("Deployment", "ADDED", child(7), lambda _key, still_relevant: relevant.append(still_relevant))
    assert relevant[0]()
    cache.on_write("Deployment", child(7))
    assert not relevant[0]()
    cache.on_watch_event(
        "Deployment", "MODIFIED", child(8), lambda _key, still_relevant: relevant.append(still_relevant)
    )
    assert relevant[1]()


def test_delete_event_does_not_remove_recreated_object() -> None:
    """A deletion removes an object, but not one of the same name that was created later."""
    cache = ObjectStore()
    enqueued(cache, "Deployment", "ADDED", child(5))
    assert enqueued(cache, "Deployment", "DELETED", child(6)) == (KEY,)
    assert cached_spec(cache) is None
    cache.on_write("Deployment", child(9))
    enqueued(cache, "Deployment", "DELETED", child(8))
    assert cached_spec(cache) == {}


def test_late_write_response_does_not_restore_deleted_object() -> None:
    """An object that was deleted between our write and its response stays deleted; one created later is stored."""
    cache = ObjectStore()
    enqueued(cache, "Deployment", "ADDED", child(5))
    enqueued(cache, "Deployment", "DELETED", child(7))
    cache.on_write("Deployment", child(6))
    assert (cached_spec(cache), cache.list_for(KEY, "Deployment")) == (None, ())
    cache.on_write("Deployment", child(8))
    assert cached_spec(cache) == {}


def test_owner_change_enqueues_both_owners() -> None:
    """A changed owner enqueues the former owner and the new one."""
    cache = ObjectStore()
    enqueued(cache, "Deployment", "ADDED", child(5))
    moved = child(6)
    moved["metadata"]["ownerReferences"][0]["name"] = "other"
    assert set(enqueued(cache, "Deployment", "MODIFIED", moved)) == {KEY, Key("demo", "other")}
    assert cache.list_for(KEY, "Deployment") == ()


def test_resync_removes_unlisted_objects() -> None:
    """An object that is absent from a list was deleted while no watch ran, and is removed."""
    cache = ObjectStore()
    enqueued(cache, "Deployment", "ADDED", child(5))
    enqueued(cache, "Deployment", "ADDED", child(5, "left"))
    cache.begin_resync()
    assert cache.on_listed("Deployment", child(5)) == ()
    assert cache.finish_resync({"Deployment"}) == (KEY,)
    assert [each["metadata"] for each in cache.list_for(KEY, "Deployment")] == [
        child(5)["metadata"] | {"managedFields": []}
    ]


def test_resync_retains_events_received_meanwhile() -> None:
    """A list does not undo events that arrived while it was read."""
    cache = ObjectStore()
    enqueued(cache, "Deployment", "ADDED", child(5, "left"))
    cache.begin_resync()
    enqueued(cache, "Deployment", "ADDED", child(8))
    enqueued(cache, "Deployment", "DELETED", child(9, "left"))
    assert cache.on_listed("Deployment", child(5, "left")) == ()
    assert cache.finish_resync({"Deployment"}) == ()
    assert cached_spec(cache) == {}
    assert cache.get("Deployment", "demo", "left") is None


def test_time_of_last_list_is_recorded() -> None:
    """The time of kopf's last list is recorded, as the store must be resynced after it."""
    clock = Clock()
    cache = ObjectStore(clock)
    assert cache.listed_at_s == float("-inf")
    enqueued(cache, "Deployment", "ADDED", child(5))
    assert cache.listed_at_s == float("-inf")
    enqueued(cache, "Deployment", None, child(5))
    assert cache.listed_at_s == clock.now


def test_pod_is_assigned_by_label_and_stored_without_unused_fields() -> None:
    """A pod is assigned by its label, as its owner is a ReplicaSet, and stored without unused fields."""
    cache = ObjectStore()
    labels = {"app.kubernetes.io/instance": "quickstart"}
    pod: dict[str, Any] = {
        "metadata": {
            "namespace": "demo",
            "name": "p",
            "resourceVersion": "3",
            "labels": labels,
            "managedFields": [{"manager": "kubelet"}],
        },
        "spec": {"nodeName": "n", "containers": [{"name": "server", "image": "i", "env": []}]},
    }
    assert enqueued(cache, "Pod", "ADDED", pod) == (KEY,)
    (stored,) = cache.list_for(KEY, "Pod")
    assert stored["spec"] == {"containers": [{"name": "server", "image": "i"}]}
    assert stored["metadata"] == {key: value for key, value in pod["metadata"].items() if key != "managedFields"}


def test_brain_keys_come_from_their_own_events() -> None:
    """A SomaBrain has a key once its own event arrived; a child alone does not create one."""
    cache = ObjectStore()
    enqueued(cache, "Deployment", "ADDED", child(5))
    assert cache.brain_keys() == ()
    enqueued(cache, KIND, "ADDED", {"metadata": {"namespace": "demo", "name": "quickstart", "resourceVersion": "4"}})
    assert cache.brain_keys() == (KEY,)
