"""Base objects: the ServiceAccount of the pods and the two Services for clients."""

from __future__ import annotations

from somabrain_operator.api.v1alpha1.grpc import Grpc
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube import names
from somabrain_operator.kube.children import GRPC, HEADLESS
from somabrain_operator.kube.objects import Json, Manifest
from somabrain_operator.kube.owner import Owner
from somabrain_operator.render.metadata import render_object


def render_service_account(owner: Owner) -> Manifest:
    """Return the pods' ServiceAccount: bound to no role, its token not mounted by default."""
    kind = ("v1", "ServiceAccount")
    return render_object(owner, names.SERVER, kind, {"automountServiceAccountToken": False})


def render_service(owner: Owner, spec: SomaBrainSpec) -> Manifest:
    """Return the Service with a cluster IP, for clients without client-side load balancing."""
    return render_object(
        owner,
        GRPC,
        ("v1", "Service"),
        {
            "spec": {
                "type": spec.service.type,
                "selector": names.selector(owner.key.name, names.SERVER),
                "ports": [_grpc_port(spec.grpc)],
            }
        },
        annotations=spec.service.annotations,
    )


def render_headless_service(owner: Owner, grpc: Grpc) -> Manifest:
    """Return the headless Service: an HTTP/2 connection stays with one pod, so clients balance over pod addresses."""
    return render_object(
        owner,
        HEADLESS,
        ("v1", "Service"),
        {
            "spec": {
                "type": "ClusterIP",
                "clusterIP": "None",
                "selector": names.selector(owner.key.name, names.SERVER),
                "ports": [
                    _grpc_port(grpc),
                    {"name": "http", "port": names.HTTP_PORT, "targetPort": "http", "protocol": "TCP"},
                ],
            }
        },
    )


def _grpc_port(grpc: Grpc) -> dict[str, Json]:
    app_protocol = "https" if grpc.tls else "kubernetes.io/h2c"
    return {"name": "grpc", "port": grpc.port, "targetPort": "grpc", "protocol": "TCP", "appProtocol": app_protocol}


def endpoint(owner: Owner, port: int) -> str:
    """Return the target for gRPC clients inside the cluster; with round_robin it reaches every pod."""
    return f"dns:///{owner.child(HEADLESS)}.{owner.key.namespace}.svc:{port}"
