"""Access to the API server for tests: plain objects in, plain objects out.

No controllers run behind it. What they would do (finish a Job, roll a Deployment out, start a pod) a test does by
writing the same status through `ControllerStub`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.client import Client
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from lightkube.types import CascadeType, PatchType

from devcluster.loopback import ApiServer
from somabrain_operator.kube.kinds import BRAIN, CHILDREN, EVENT, LEASE, POD, SECRET

Object = dict[str, Any]
OPERATOR = "system:serviceaccount:somabrain-system:somabrain-operator"
KINDS: dict[str, Any] = {
    **{
        each.kind: create_namespaced_resource(each.group, each.version, each.kind, each.plural)
        for each in (*CHILDREN.values(), BRAIN, SECRET, POD, EVENT, LEASE)
    },
    "Role": create_namespaced_resource("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    "RoleBinding": create_namespaced_resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    "ClusterRole": create_global_resource("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles"),
    "ClusterRoleBinding": create_global_resource(
        "rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings"
    ),
    "CustomResourceDefinition": create_global_resource(
        "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions"
    ),
    "ValidatingAdmissionPolicy": create_global_resource(
        "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies"
    ),
    "ValidatingAdmissionPolicyBinding": create_global_resource(
        "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"
    ),
    "ValidatingWebhookConfiguration": create_global_resource(
        "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations"
    ),
    "MutatingWebhookConfiguration": create_global_resource(
        "admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations"
    ),
    "Namespace": create_global_resource("", "v1", "Namespace", "namespaces"),
}


class Refused(Exception):
    """The API server refused a request, with this message."""


@dataclass(frozen=True)
class Api:
    """Verbs on objects, as a member of system:masters."""

    server: ApiServer
    client: Client

    def create(self, manifest: Object, namespace: str | None = None) -> Object:
        """Create an object and return it."""
        kind = KINDS[manifest["kind"]]
        try:
            resource = kind(manifest)
            return dict(
                self.client.create(resource, namespace=namespace) if namespace else self.client.create(resource)
            )
        except ApiError as error:
            raise Refused(error.status.message) from error

    def refusal(self, manifest: Object, namespace: str) -> str:
        """Return the message with which the API server would refuse a creation; empty if it would not."""
        try:
            self.client.create(KINDS[manifest["kind"]](manifest), namespace=namespace, dry_run=True)
        except ApiError as error:
            return str(error.status.message)
        return ""

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """Return an object; KeyError if it does not exist."""
        try:
            if namespace:
                return dict(self.client.get(KINDS[kind], name, namespace=namespace))
            return dict(self.client.get(KINDS[kind], name))
        except ApiError as error:
            raise KeyError(f"{kind} {namespace}/{name}: {error}") from error

    def objects(self, kind: str, namespace: str | None = None) -> list[Object]:
        """Return all objects of a kind, of one namespace if given; KeyError while they cannot be listed."""
        try:
            if namespace is None:
                return [dict(each) for each in self.client.list(KINDS[kind])]
            return [dict(each) for each in self.client.list(KINDS[kind], namespace=namespace)]
        except ApiError as error:
            raise KeyError(f"{kind} {namespace}/*: {error}") from error

    def patch(self, kind: str, name: str, namespace: str, patch: Any, *, manager: str = "kubectl-edit") -> Object:
        """Patch an object: a list is a JSON patch, an object a merge patch."""
        patch_type = PatchType.JSON if isinstance(patch, list) else PatchType.MERGE
        try:
            return dict(
                self.client.patch(
                    KINDS[kind], name, patch, namespace=namespace, patch_type=patch_type, field_manager=manager
                )
            )
        except ApiError as error:
            raise Refused(error.status.message) from error

    def status(self, kind: str, name: str, namespace: str, status: Object) -> None:
        """Write a status, as a controller or a kubelet does."""
        self.client.patch(
            KINDS[kind].Status,
            name,
            {"status": status},
            namespace=namespace,
            patch_type=PatchType.MERGE,
            field_manager="kube-controller-manager",
        )

    def scale(self, kind: str, name: str, namespace: str, replicas: int) -> None:
        """Write the scale subresource, as an autoscaler does."""
        self.client.patch(
            KINDS[kind].Scale,
            name,
            {"spec": {"replicas": replicas}},
            namespace=namespace,
            patch_type=PatchType.MERGE,
            field_manager="kube-controller-manager",
        )

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        """Delete an object."""
        if namespace is None:
            self.client.delete(KINDS[kind], name)
            return
        self.client.delete(KINDS[kind], name, namespace=namespace, grace_period=0, cascade=CascadeType.BACKGROUND)

    def writes(self) -> list[str]:
        """Return every write of the operator but those to its Lease, from the audit log."""
        return [each for each in self.all_writes() if " leases " not in each]

    def all_writes(self) -> list[str]:
        """Return every write of the operator, from the audit log, as `verb resource/subresource name`."""
        writes = []
        for line in Path(self.server.audit_log).read_text().splitlines():
            event = json.loads(line)
            if event["user"]["username"] == OPERATOR and event["stage"] == "ResponseComplete":
                target = event["objectRef"]
                resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
                writes.append(f"{event['verb']} {resource} {target.get('name', '')}")
        return writes


@contextmanager
def api_of(server: ApiServer) -> Iterator[Api]:
    """Yield an Api of a server."""
    client = Client(KubeConfig.from_file(server.kubeconfig).get(), trust_env=False)
    try:
        yield Api(server, client)
    finally:
        client.close()
