"""Simulation of kube-controller-manager and the kubelet for a standalone API server.

    python bench/controllers.py URL CA_FILE < TOKEN

It writes what the real ones would write: Jobs complete, Deployments get ready pods of their template, and the children
of a deleted SomaBrain are deleted. Nothing runs in the pods. An image with the tag `never` counts as one that cannot be
pulled: its pods never become ready, nor does their Deployment.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from devcluster.loopback import ApiServer

Object = dict[str, Any]
HASH = "pod-template-hash"
CONCURRENCY = 8
COLLECT_AFTER_S = (0, 2, 10)
MERGE = {"Content-Type": "application/merge-patch+json"}
JOBS, DEPLOYMENTS, BRAINS = (
    "/apis/batch/v1/{}jobs",
    "/apis/apps/v1/{}deployments",
    "/apis/somabrain.io/v1alpha1/{}somabrains",
)
OWNED = (
    "/api/v1/{}serviceaccounts",
    "/api/v1/{}services",
    "/api/v1/{}configmaps",
    DEPLOYMENTS,
    JOBS,
    "/api/v1/{}pods",
    "/apis/policy/v1/{}poddisruptionbudgets",
    "/apis/autoscaling/v2/{}horizontalpodautoscalers",
    "/apis/networking.k8s.io/v1/{}networkpolicies",
)


class Api:
    """Minimal client of an API server."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """Use an open session, which the caller closes."""
        self._session = session

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> Object:
        """Return the response, or an empty object if the status is 404 or 409.

        Raises:
            RuntimeError: another error status.
        """
        data = None if body is None else json.dumps(body)
        kind = headers or ({} if data is None else {"Content-Type": "application/json"})
        async with self._session.request(method, path, data=data, headers=kind) as answer:
            if answer.status not in (404, 409):
                if answer.status >= 400:
                    raise RuntimeError(f"{method} {path}: {answer.status} {(await answer.text())[:400]}")
                content: Object = await answer.json()
                return content
            return {}

    async def merge(self, path: str, body: object) -> Object:
        """Apply a merge patch."""
        return await self.call("PATCH", path, body, **MERGE)

    async def watch(self, path: str) -> AsyncIterator[tuple[str, Object]]:
        """Yield the type of each change and the object, from a list on; list again when the stream ends.

        Each list ends with a LISTED event with all objects, which is the only way to detect deletions in between.
        """
        while True:
            with suppress(aiohttp.ClientError, asyncio.TimeoutError, RuntimeError, KeyError):
                first = await self.call("GET", path)
                for each in first["items"]:
                    yield "ADDED", each
                yield "LISTED", first
                since = first["metadata"]["resourceVersion"]
                timeout = aiohttp.ClientTimeout(total=None)
                query = {"watch": "1", "resourceVersion": since}
                async with self._session.get(path, params=query, timeout=timeout) as answer:
                    async for line in answer.content:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            break
                        yield event["type"], event["object"]
            await asyncio.sleep(0.1)


@asynccontextmanager
async def api_of(url: str, ca_file: Path, token: str) -> AsyncIterator[Api]:
    """Open a client of an API server."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(ca_file)), limit=64)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(url, connector=connector, headers=headers, read_bufsize=1 << 22) as session:
        yield Api(session)


@contextmanager
def controllers(server: ApiServer, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the controllers for an API server, in a separate process, until the end of the block."""
    with log.open("ab") as file:
        argv = [sys.executable, str(Path(__file__).resolve()), server.url, str(server.ca_file)]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=file, stderr=file)
    try:
        assert process.stdin is not None
        process.stdin.write(f"{server.token}\n".encode())
        process.stdin.close()
        yield process
    finally:
        process.kill()
        process.wait()


class Controllers:
    """Controllers of one API server."""

    def __init__(self, api: Api) -> None:
        """Make no request before `run`."""
        self._api = api
        self._due: asyncio.Queue[tuple[str, Callable[[], Awaitable[None]]]] = asyncio.Queue()
        self._locks: dict[str, asyncio.Lock] = {}
        self._brains: dict[str, Object] = {}  # by uid
        self._pods: dict[str, dict[str, str]] = {}  # by Deployment: name and template of each of its pods

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(JOBS, self._job))
            group.create_task(self._watch(DEPLOYMENTS, self._deployment))
            group.create_task(self._watch(BRAINS, self._brain))
            for _ in range(CONCURRENCY):
                group.create_task(self._work())

    async def _watch(self, path: str, handle: Callable[[str, Object], None]) -> None:
        async for event, resource in self._api.watch(path.format("")):
            if event != "LISTED":
                handle(event, resource)
            elif path == BRAINS:
                self._delete_absent(resource["items"])

    async def _work(self) -> None:
        while True:
            what, work = await self._due.get()
            try:
                await work()
            except (TimeoutError, aiohttp.ClientError, RuntimeError) as error:
                print(f"{what}: {error}; retrying", file=sys.stderr, flush=True)
                await asyncio.sleep(0.2)
                self._due.put_nowait((what, work))

    def _job(self, event: str, job: Object) -> None:
        if event != "DELETED" and not job.get("status", {}).get("conditions"):
            self._due.put_nowait((f"Job {_name(job)}", lambda: self._finish(job)))

    async def _finish(self, job: Object) -> None:
        if _never(job["spec"]["template"]):
            return
        done = [_true("SuccessCriteriaMet"), _true("Complete")]
        status = {"startTime": _now(), "completionTime": _now(), "succeeded": 1, "conditions": done}
        await self._api.merge(f"{_path(JOBS, job)}/status", {"status": status})

    def _deployment(self, event: str, live: Object) -> None:
        if event == "DELETED":
            self._pods.pop(live["metadata"]["uid"], None)
            self._locks.pop(live["metadata"]["uid"], None)
        elif live.get("status", {}).get("observedGeneration", 0) < live["metadata"]["generation"]:
            self._due.put_nowait((f"Deployment {_name(live)}", lambda: self._one_at_a_time(live)))

    async def _one_at_a_time(self, live: Object) -> None:
        async with self._locks.setdefault(live["metadata"]["uid"], asyncio.Lock()):
            await self._roll_out(live)

    async def _roll_out(self, live: Object) -> None:
        """Create the new pods, delete the old ones, then write the status."""
        replicas, template, uid = live["spec"]["replicas"], live["spec"]["template"], live["metadata"]["uid"]
        words = json.dumps(template, sort_keys=True).encode()
        version = hashlib.sha256(words).hexdigest()[:10]
        pods = self._pods.setdefault(uid, {})
        mine = [name for name, of in pods.items() if of == version]
        for index in range(len(mine), replicas):
            name = f"{_name(live)}-{version}-{index}"
            await self._start(live, name, version)
            pods[name] = version
        never = _never(template)
        if not never:
            up_to_date = [name for name, of in list(pods.items()) if of == version][:replicas]
            for name in [each for each in pods if each not in up_to_date]:
                await self._api.call("DELETE", f"{_path('/api/v1/{}pods', live, name)}", {"gracePeriodSeconds": 0})
                pods.pop(name, None)
        ready = 0 if never else replicas
        progressing = {**_true("Progressing"), "reason": "ReplicaSetUpdated" if never else "NewReplicaSetAvailable"}
        status = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": replicas,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": replicas - ready,
            "conditions": [progressing],
        }
        await self._api.merge(f"{_path(DEPLOYMENTS, live)}/status", {"status": status})

    async def _start(self, live: Object, name: str, version: str) -> None:
        template, never = live["spec"]["template"], _never(live["spec"]["template"])
        owner = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": f"{_name(live)}-{version}",
            "uid": live["metadata"]["uid"],
            "controller": True,
        }
        metadata = {
            "name": name,
            "labels": {**template["metadata"]["labels"], HASH: version},
            "annotations": template["metadata"].get("annotations", {}),
            "ownerReferences": [owner],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        await self._api.call("POST", f"/api/v1/namespaces/{live['metadata']['namespace']}/pods", pod)
        state = {"waiting": {"reason": "ImagePullBackOff"}} if never else {"running": {"startedAt": _now()}}
        container = {
            "name": "server",
            "image": template["spec"]["containers"][0]["image"],
            "imageID": "",
            "ready": not never,
            "restartCount": 0,
            "state": state,
        }
        ready = {"type": "Ready", "status": "False" if never else "True"}
        status = {"phase": "Pending" if never else "Running", "conditions": [ready], "containerStatuses": [container]}
        await self._api.merge(f"{_path('/api/v1/{}pods', live, name)}/status", {"status": status})

    def _brain(self, event: str, brain: Object) -> None:
        if event == "DELETED":
            self._brains.pop(brain["metadata"]["uid"], None)
            loop = asyncio.get_running_loop()
            for after_s in COLLECT_AFTER_S:  # the operator may have been creating a child while its owner was deleted
                work = (f"SomaBrain {_name(brain)}", lambda: self._collect(brain))
                loop.call_later(after_s, self._due.put_nowait, work)
        else:
            self._brains[brain["metadata"]["uid"]] = brain

    def _delete_absent(self, live: list[Object]) -> None:
        """Handle SomaBrains that are absent from a list as deleted."""
        for uid in self._brains.keys() - {each["metadata"]["uid"] for each in live}:
            self._brain("DELETED", self._brains[uid])

    async def _collect(self, brain: Object) -> None:
        """Delete the children of a deleted SomaBrain and their pods, as the garbage collector does."""
        where = f"namespaces/{brain['metadata']['namespace']}/"
        selector = f"labelSelector=app.kubernetes.io/instance={_name(brain)}"
        deleted_uids = {brain["metadata"]["uid"]}
        for kind in OWNED:
            listed = await self._api.call("GET", f"{kind.format(where)}?{selector}")
            for each in listed.get("items", ()):
                if deleted_uids & {owner["uid"] for owner in each["metadata"].get("ownerReferences", ())}:
                    deleted_uids.add(each["metadata"]["uid"])
                    path = f"{kind.format(where)}/{_name(each)}"
                    await self._api.call("DELETE", path, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})


def _name(manifest: Object) -> str:
    return str(manifest["metadata"]["name"])


def _path(kind: str, near: Object, name: str = "") -> str:
    return f"{kind.format('namespaces/' + near['metadata']['namespace'] + '/')}/{name or _name(near)}"


def _never(template: Object) -> bool:
    return any(str(each["image"]).endswith(":never") for each in template["spec"]["containers"])


def _true(kind: str) -> Object:
    return {"type": kind, "status": "True", "lastTransitionTime": _now()}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def main(url: str, ca_file: Path, token: str) -> None:
    """Work until killed."""
    async with api_of(url, ca_file, token) as api:
        await Controllers(api).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.stdin.readline().strip()))
