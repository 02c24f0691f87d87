"""Examples with External Secrets, cert-manager and the Gateway API are valid for the definitions of these projects, and
fit the operator's inputs and outputs. Their controllers do not run: a test does their work."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster.crds import CERTIFICATE, EXTERNAL_SECRET, GRPC_ROUTE, from_module
from devcluster.loopback import api_server
from tests.integration.operator.api import Api, Object, api_of
from tests.integration.operator.brains import Brain, ControllerStub
from tests.integration.operator.chart import ROOT, account_of, established, install, tool
from tests.integration.operator.process import operator
from tests.support.waiting import eventually

EXAMPLES = ROOT / "examples"
DEFINITION = "CustomResourceDefinition"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API server with the definitions of the three projects, and a running operator."""
    folder = tmp_path_factory.mktemp("neighbours")
    with api_server() as server, api_of(server) as verbs:
        install(verbs)
        for file in (CERTIFICATE, EXTERNAL_SECRET, GRPC_ROUTE):
            definition = yaml.safe_load(from_module(file))
            verbs.create(definition)
            name = definition["metadata"]["name"]
            eventually(partial(verbs.get, DEFINITION, name), lambda it: established(it) == "True", f"{name} is known")
        with operator(account_of(verbs, folder), folder / "log") as running:
            running.wait_until_started()
            yield verbs


def apply(api: Api, text: str, namespace: str) -> list[Object]:
    """Apply manifests with strict validation into a namespace of their own, and return them."""
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    text = text.replace("namespace: demo", f"namespace: {namespace}").replace(".demo.svc", f".{namespace}.svc")
    argv = [tool("kubectl"), "--kubeconfig", str(api.server.kubeconfig), "apply", "--validate=strict", "-n", namespace]
    done = subprocess.run([*argv, "-f", "-"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(text) if each]


def example(path: str) -> str:
    """Return the text of an example."""
    return (EXAMPLES / path).read_text(encoding="utf-8")


def test_external_secrets_example_creates_the_expected_secrets(api: Api) -> None:
    """The resource waits for the Secrets that both ExternalSecrets describe, and continues when they exist."""
    manifests = apply(api, example("external-secrets/database.yaml"), "external")
    brain = Brain(api, "external")
    brain.until("ReferencesResolved", "False", "is not in namespace external")
    brain.until("Reconciling", "True")
    for each in (each for each in manifests if each["kind"] == "ExternalSecret"):
        brain.secret(each["spec"]["target"]["name"], **dict.fromkeys(keys(each), "postgresql://u@pg/s"))
    brain.until("ReferencesResolved", "True", timeout_s=10)


def keys(external: Object) -> list[str]:
    """Return the keys that an ExternalSecret writes."""
    return [str(each["secretKey"]) for each in external["spec"]["data"]]


def test_cert_manager_example_issues_the_server_certificate(api: Api) -> None:
    """The servers mount the certificate's Secret, and it is valid for the names of both Services."""
    (certificate, _) = apply(api, example("cert-manager/certificate.yaml"), "certified")
    brain = Brain(api, "certified")
    brain.secrets()
    issued = {"tls.crt": "certificate", "tls.key": "key", "ca.crt": "authority"}  # as cert-manager writes them
    brain.secret(certificate["spec"]["secretName"], **issued)
    ControllerStub(brain).serve()
    volumes = brain.deployment()["spec"]["template"]["spec"]["volumes"]
    assert certificate["spec"]["secretName"] in str(volumes)
    for service in ("headless", "grpc"):
        name = brain.child("Service", service)["metadata"]["name"]
        assert {f"{name}.certified.svc", f"{name}.certified.svc.cluster.local"} <= {*certificate["spec"]["dnsNames"]}
    assert (
        brain.resource()["status"]["endpoint"].removeprefix("dns:///").rpartition(":")[0]
        in certificate["spec"]["dnsNames"]
    )


def backend(route: Object) -> Any:
    """Return the name and the port of a route's only backend."""
    ((reference,),) = (rule["backendRefs"] for rule in route["spec"]["rules"])
    return reference["name"], reference["port"]


def test_gateway_route_example_targets_the_service(api: Api) -> None:
    """The GRPCRoute of the example names the Service and its port."""
    (route,) = apply(api, example("gateway/grpcroute.yaml"), "routed")
    brain = Brain(api, "routed")
    brain.secrets()
    brain.apply()
    service = eventually(lambda: brain.child("Service", "grpc"), bool, "the Service")
    assert backend(route) == (service["metadata"]["name"], service["spec"]["ports"][0]["port"])
    assert service["spec"]["ports"][0]["appProtocol"] == "kubernetes.io/h2c"


def test_sb_chart_renders_route_only_with_a_gateway(api: Api, tmp_path: Path) -> None:
    """The chart `sb` renders a valid GRPCRoute to its Service, and none without a Gateway."""
    chart = str(ROOT / "helm" / "charts" / "sb")
    gateway = (
        "--set",
        "grpcRoute.parentRefs[0].name=shared",
        "--set",
        "grpcRoute.hostnames={memory.example.com}",
        "--set",
        "grpc.port=8443",
    )

    def of_kind(kind: str, *flags: str) -> list[Object]:
        argv = [tool("helm"), "template", "brain", chart, *flags]
        text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return [each for each in yaml.safe_load_all(text) if each and each["kind"] == kind]

    assert of_kind("GRPCRoute") == []
    assert of_kind("GRPCRoute", "--set", "grpcRoute=null") == [], "values kept from 0.1 do not have it"
    (rendered,) = of_kind("GRPCRoute", *gateway)
    (route,) = apply(api, yaml.safe_dump(rendered), "charted")
    assert route["spec"]["hostnames"] == ["memory.example.com"]
    assert backend(route) in {
        (service["metadata"]["name"], port["port"])
        for service in of_kind("Service", *gateway)
        for port in service["spec"]["ports"]
    }
