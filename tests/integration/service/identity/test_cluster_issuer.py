"""Service-account tokens of a real Kubernetes API: the cluster's own issuer identifies the callers."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from common.config.settings import AuthSettings
from common.errors import Unauthenticated, Unavailable
from common.utils.auth_client import open_authenticator
from devcluster.loopback import ApiServer, api_server
from somabrain_client import MemoryClient
from somabrain_client.errors import NotFoundError
from tests.integration.service.service_process import service

BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "somabrain-reads-keys"},
    "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "system:service-account-issuer-discovery",
    },
    "subjects": [{"kind": "ServiceAccount", "name": "service", "namespace": "brains"}],
}


def post(api: ApiServer, path: str, body: Mapping[str, object]) -> dict[str, object]:
    """POST to the API as an administrator."""
    headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"}
    request = urllib.request.Request(api.url + path, json.dumps(body).encode(), headers)
    context = ssl.create_default_context(cafile=str(api.ca_file))
    with urllib.request.urlopen(request, context=context, timeout=10) as response:
        answer: dict[str, object] = json.load(response)
        return answer


def service_account(api: ApiServer, namespace: str, name: str) -> None:
    post(api, "/api/v1/namespaces", {"metadata": {"name": namespace}})
    post(api, f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})


def token(api: ApiServer, namespace: str, name: str, audience: str) -> str:
    """A token of the TokenRequest API, as a kubelet requests it for a projected volume."""
    answer = post(
        api,
        f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
        {"spec": {"audiences": [audience], "expirationSeconds": 600}},
    )
    status = answer["status"]
    assert isinstance(status, dict)
    return str(status["token"])


@pytest.fixture(scope="module")
def api() -> Iterator[ApiServer]:
    with api_server() as running:
        service_account(running, "agents", "agent")
        service_account(running, "brains", "service")
        post(running, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", BINDING)
        yield running


@pytest.fixture
def auth(api: ApiServer, tmp_path: Path) -> AuthSettings:
    """The settings that the operator writes: the cluster's CA, and a token that is bound to issuer discovery only."""
    own = tmp_path / "token"
    own.write_text(token(api, "brains", "service", api.url))
    return AuthSettings(issuer=api.issuer, jwks_url=api.jwks_url, jwks_ca_file=api.ca_file, jwks_token_file=own)


async def test_tenant_is_the_kubernetes_namespace_of_the_caller(api: ApiServer, auth: AuthSettings) -> None:
    async with open_authenticator(auth, "0.0.0.0") as authenticate:
        identity = await authenticate.identify(token(api, "agents", "agent", "somabrain"))
    assert identity.tenant == "agents"
    assert identity.subject == "system:serviceaccount:agents:agent"
    assert identity.issuer == api.issuer
    assert identity.scopes is None


async def test_token_for_another_audience_is_refused(api: ApiServer, auth: AuthSettings) -> None:
    """The pod's default token, which is meant for the API and not for us, is refused."""
    async with open_authenticator(auth, "0.0.0.0") as authenticate:
        with pytest.raises(Unauthenticated) as caught:
            await authenticate.identify(token(api, "agents", "agent", api.url))
    assert caught.value.cause == "wrong_audience"


async def test_unreadable_issuer_keys_fail_authentication(api: ApiServer, auth: AuthSettings) -> None:
    """Without a token bound to issuer discovery the API answers 403 for its keys, and no caller is authenticated."""
    without = auth.model_copy(update={"jwks_token_file": None})
    async with open_authenticator(without, "0.0.0.0") as authenticate:
        with pytest.raises(Unavailable):
            await authenticate.identify(token(api, "agents", "agent", "somabrain"))


async def test_service_accounts_of_two_namespaces_are_isolated_tenants(
    api: ApiServer, auth: AuthSettings, settings: dict[str, object], folder: Path
) -> None:
    """Over gRPC, a service account cannot see what one of another namespace stored under the same name."""
    service_account(api, "others", "agent")
    chosen = auth.model_dump(include={"issuer", "jwks_url", "jwks_ca_file", "jwks_token_file", "tenant_claim"})
    own = {**settings, **{f"auth__{name}": value for name, value in chosen.items()}}
    with service(folder, own) as running:
        running.wait_until_ready()
        ours = MemoryClient(running.address, token=token(api, "agents", "agent", "somabrain"))
        theirs = MemoryClient(running.address, token=token(api, "others", "agent", "somabrain"))
        async with ours, theirs:
            await ours.create_namespace("shared")
            memory = await ours.remember("shared", "The harbour of Ghent was dug in 1828.")
            with pytest.raises(NotFoundError):
                await theirs.get(memory.name)
            await theirs.create_namespace("shared")
            assert (await theirs.recall("shared", "harbour")).hits == ()
            assert [hit.memory for hit in (await ours.recall("shared", "harbour")).hits] == [memory]
