"""The kubelet's probes over plain HTTP, beside gRPC over TLS, and their effect on a server that hangs."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from functools import partial
from operator import eq
from pathlib import Path

from devcluster.pki import CertificateAuthority
from somabrain_client import MemoryClient
from somabrain_client.tls import Tls
from tests.e2e.support.brains import Brain
from tests.e2e.support.chaos import Chaos
from tests.e2e.support.waiting import eventually

IMPATIENT = {"livenessPeriodSeconds": 2, "livenessFailures": 2, "readinessPeriodSeconds": 1, "timeoutSeconds": 2}
SECRET = "tls"


def certify(brain: Brain, folder: Path) -> Tls:
    """Put a certificate for the address that this machine reaches into a Secret, and return its CA."""
    authority = CertificateAuthority.create(folder)
    authority.issue_server(SECRET, "/CN=brain", [f"IP:{brain.node_address}"])
    data = {f"tls.{end}": b64encode((folder / f"{SECRET}.{end}").read_bytes()).decode() for end in ("crt", "key")}
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": SECRET}}
    brain.kubectl.apply(brain.namespace, {**secret, "data": data})
    return Tls(ca_file=authority.certificate)


def receives_calls(brain: Brain) -> list[bool]:
    """Return for each endpoint of the Service whether it is ready."""
    of = ("-l", f"kubernetes.io/service-name={brain.name}-grpc")
    slices = brain.kubectl.get(brain.namespace, "endpointslices", *of)["items"]
    return [each["conditions"]["ready"] for endpoint_slice in slices for each in endpoint_slice["endpoints"] or ()]


def restarts(brain: Brain) -> int:
    (pod,) = brain.pods()
    return sum(each["restartCount"] for each in pod["status"]["containerStatuses"] if each["name"] == "server")


async def test_hung_server_gets_no_calls_and_is_restarted(brain: Brain, chaos: Chaos, tmp_path: Path) -> None:
    """A hung server gets no calls and is restarted, by HTTP probes on 8080 although gRPC uses TLS."""
    trusted = await asyncio.to_thread(certify, brain, tmp_path)
    await asyncio.to_thread(
        brain.apply, grpc={"tls": {"secretRef": {"name": SECRET}}}, probes=IMPATIENT, config={"drainSeconds": 1}
    )
    await brain.ready()
    (pod,) = await asyncio.to_thread(brain.pods)
    for path in ("livez", "ready"):
        where = f"/api/v1/namespaces/{brain.namespace}/pods/{pod['metadata']['name']}:8080/proxy/{path}"
        await asyncio.to_thread(brain.kubectl, "get", "--raw", where)
    await eventually(partial(receives_calls, brain), partial(eq, [True]), "it gets no calls")
    await asyncio.to_thread(chaos.signal, "STOP", pod, "server")
    await eventually(partial(receives_calls, brain), partial(eq, [False]), "it still gets calls", every_s=0.1)
    await brain.until("Available", "False", pod["metadata"]["name"])
    await eventually(partial(restarts, brain), partial(eq, 1), "it is not started anew")
    await brain.ready()
    await eventually(partial(receives_calls, brain), partial(eq, [True]), "it gets no calls again")
    token = await asyncio.to_thread(brain.kubectl.token, brain.namespace, "agent")
    async with MemoryClient(await asyncio.to_thread(brain.address), token=token, tls=trusted) as client:
        await client.create_namespace("again")
