"""Each process of a live pod as the kernel sees it, and each object as the API server has it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from examples.kubectl import CommandFailed, Object
from tests.e2e.support.brains import Brain
from tests.e2e.support.chaos import Chaos
from tests.e2e.support.operators import CHART

CONTAINERS = ("server", "opa")
UID = "10001"
NONE, FILTERED = "0" * 16, "2"
ISSUER = "/run/secrets/somabrain/issuer"
LISTENS = "0A"
"""The state of a socket in /proc/net/tcp."""
ANYWHERE, LOOPBACK = {"00000000", "0" * 32}, {"0100007F"}


@pytest.fixture(scope="module")
def pod(served: Brain) -> Object:
    """The one pod of a SomaBrain that serves."""
    (only_pod,) = served.pods()
    return only_pod


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_process_is_restricted(pod: Object, chaos: Chaos, container: str) -> None:
    """No process has root, capabilities, a way to gain them, or a writable root file system; all have seccomp."""
    for number in chaos.processes(pod, container):
        lines = (line.partition(":") for line in chaos.run("cat", f"/proc/{number}/status").splitlines())
        status = {name: value.split() for name, _, value in lines}
        assert status["Uid"] == status["Gid"] == [UID] * 4
        assert [status[each] for each in ("CapPrm", "CapEff", "CapBnd", "CapAmb")] == [[NONE]] * 4
        assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], [FILTERED])
        assert all("ro" in options for folder, options in mounts(chaos, number) if folder == "/")


def mounts(chaos: Chaos, number: str) -> Iterator[tuple[str, list[str]]]:
    """Yield directory and options of each mount of a process; tokens are never provided in another way."""
    for line in chaos.run("cat", f"/proc/{number}/mounts").splitlines():
        _, folder, _, options, *_ = line.split()
        yield folder, options.split(",")


def test_server_writes_only_below_tmp(served: Brain, pod: Object) -> None:
    """The server can write below /tmp, and not beside the program."""
    inside = ("exec", "-n", served.namespace, pod["metadata"]["name"], "-c", "server", "--", "touch")
    served.kubectl(*inside, "/tmp/may")
    with pytest.raises(CommandFailed, match="Read-only file system"):
        served.kubectl(*inside, "/opt/may-not")


@pytest.mark.parametrize("container", CONTAINERS)
def test_no_process_has_an_api_token_except_for_issuer_discovery(pod: Object, chaos: Chaos, container: str) -> None:
    """No process has a token for the API, except for the server's with which it reads the issuer's keys."""
    for number in chaos.processes(pod, container):
        folders = {folder for folder, _ in mounts(chaos, number) if "/run/secrets/" in folder}
        assert folders == ({ISSUER} if container == "server" else set())


def test_issuer_discovery_token_grants_nothing_in_the_namespace(served: Brain) -> None:
    """The server's token allows access to no object of the namespace."""
    account = f"system:serviceaccount:{served.namespace}:{served.name}-server"
    for what in ("secrets", "configmaps", "pods", "somabrains.somabrain.io"):
        with pytest.raises(CommandFailed) as refused:
            served.kubectl("auth", "can-i", "get", what, "-n", served.namespace, f"--as={account}")
        assert str(refused.value) == "no"


def test_opa_decisions_are_served_on_loopback_only(pod: Object, chaos: Chaos) -> None:
    """OPA listens for decisions on loopback only; from outside only its health is reachable."""
    (number, *_) = chaos.processes(pod, "opa")
    listeners = dict(listening(chaos.run("cat", f"/proc/{number}/net/tcp", f"/proc/{number}/net/tcp6")))
    assert listeners[8181] <= LOOPBACK
    assert all(listeners[port] <= ANYWHERE for port in (8282, 8080, 50052))
    (opa,) = (each for each in pod["spec"]["initContainers"] if each["name"] == "opa")
    assert opa["restartPolicy"] == "Always"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest.mark.parametrize(("port", "path"), [(8080, "/livez"), (8282, "/health")])
def test_probes_answer_over_ipv4_and_ipv6(served: Brain, pod: Object, host: str, port: int, path: str) -> None:
    """Server and OPA answer the kubelet by IPv4 and by IPv6, as in a cluster that has one of them only."""
    script = f"import urllib.request; print(urllib.request.urlopen('http://{host}:{port}{path}', timeout=5).status)"
    inside = ("exec", "-n", served.namespace, pod["metadata"]["name"], "-c", "server", "--", "python3", "-c", script)
    assert served.kubectl(*inside).strip() == "200"


async def test_arbitrary_user_id_in_root_group_is_supported(brain: Brain, chaos: Chaos) -> None:
    """With an id that no image defines and the root group, as OpenShift assigns them, all containers run."""
    ids = {"runAsUser": 1000660000, "runAsGroup": 0, "fsGroup": 1000660000}
    await asyncio.to_thread(brain.apply, podSecurityContext=ids)
    await brain.ready()
    (only_pod,) = await asyncio.to_thread(brain.pods)
    for container in CONTAINERS:
        for number in await asyncio.to_thread(chaos.processes, only_pod, container):
            status = await asyncio.to_thread(chaos.run, "cat", f"/proc/{number}/status")
            assert "Uid:\t1000660000\t" in status
            assert "Gid:\t0\t" in status


def listening(tables: str) -> Iterator[tuple[int, set[str]]]:
    """Yield each port with a listener, and its addresses."""
    rows = [line.split() for line in tables.splitlines() if not line.lstrip().startswith("sl")]
    sockets = [local.split(":") for _, local, _, state, *_ in rows if state == LISTENS]
    for port in {port for _, port in sockets}:
        yield int(port, 16), {address for address, other in sockets if other == port}


def test_pods_are_spread_over_nodes(served: Brain, pod: Object) -> None:
    """The pod's spread constraint selects the pods of its SomaBrain, with at most one more on a node."""
    (spread,) = pod["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["maxSkew"]) == ("kubernetes.io/hostname", 1)
    selector, has = spread["labelSelector"]["matchLabels"], pod["metadata"]["labels"]
    assert selector.items() <= has.items()
    assert selector["app.kubernetes.io/instance"] == served.name


def test_every_object_has_owner_labels_and_field_manager(served: Brain) -> None:
    """Each object has one owner, the standard labels, and the operator as field manager."""
    uid = served.resource()["metadata"]["uid"]
    kinds = "deployments,services,configmaps,serviceaccounts,jobs"
    ours = ("-l", f"app.kubernetes.io/instance={served.name}", "--show-managed-fields")
    objects = served.kubectl.get(served.namespace, kinds, *ours)["items"]
    assert {each["kind"] for each in objects} == {"Deployment", "Service", "ConfigMap", "ServiceAccount", "Job"}
    for each in objects:
        metadata = each["metadata"]
        (owner,) = metadata["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (uid, True)
        labels = {"name": "somabrain", "instance": served.name, "managed-by": CHART, "part-of": "somabrain"}
        assert {f"app.kubernetes.io/{name}": value for name, value in labels.items()}.items() <= metadata[
            "labels"
        ].items()
        assert ("Apply", CHART) in {(entry["operation"], entry["manager"]) for entry in metadata["managedFields"]}
