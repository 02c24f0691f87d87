"""Open Policy Agent as a native side-car, so that it answers before the server starts and after it stops."""

from __future__ import annotations

from typing import Final

from somabrain_operator.api.v1alpha1.spec import Opa
from somabrain_operator.kube.objects import Json
from somabrain_operator.render.pod import container_security, http_probe, resource_requirements
from somabrain_operator.render.setting_names import need_former_names

OPA: Final = "opa"
POLICY_FOLDER: Final = "/policy"


def render_opa_container(opa: Opa, image: str, service_image: str) -> dict[str, Json]:
    """Return the side-car: decisions on loopback only, health on another port for the kubelet.

    Health is served by IPv4 and IPv6, as the server's own is. Beside a server of an image before 0.2, which serves it
    by IPv4 only, the argument is the former one, so that an upgrade of the operator does not roll its pods.

    A mounted ConfigMap has every file twice, the second time below a folder whose name begins with a dot; loaded twice,
    a policy's defaults conflict: hence --ignore.
    """
    health_host = "0.0.0.0" if need_former_names((service_image,)) else ""  # noqa: S104 - the kubelet is outside the pod
    return {
        "name": OPA,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always",
        "args": [
            "run",
            "--server",
            "--addr=127.0.0.1:8181",
            f"--diagnostic-addr={health_host}:8282",
            "--log-level=error",
            "--skip-version-check",
            "--ignore=.*",
            POLICY_FOLDER,
        ],
        "ports": [{"name": "opa-health", "containerPort": 8282, "protocol": "TCP"}],
        "startupProbe": http_probe("/health", "opa-health", period_s=1, failures=60),
        "readinessProbe": http_probe("/health", "opa-health", period_s=5, failures=2),
        "livenessProbe": http_probe("/health", "opa-health", period_s=10, failures=3),
        "resources": resource_requirements(opa.resources),
        "securityContext": container_security(),
        "volumeMounts": [{"name": "policy", "mountPath": POLICY_FOLDER, "readOnly": True}],
    }
