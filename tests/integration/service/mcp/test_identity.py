"""The MCP server as a separate protected resource: tokens of a real Keycloak, exchanged for the memory service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcp_types import CallToolResult, TextContent

from devcluster.loopback import Keycloak, keycloak
from devcluster.loopback.keycloak import SERVICE
from somabrain_client import MemoryClient, RetryPolicy, SyncMemoryClient
from somabrain_client.errors import UnauthenticatedError
from tests.integration.service.mcp_process import McpProcess, mcp_server
from tests.integration.service.service_process import ServiceProcess, service

pytestmark = pytest.mark.timeout(600)

RESOURCE = "https://memory.example.com/mcp"
CACHE_S = 1.0
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list", "arguments": {}}}
HEADERS = {"Accept": "application/json", "MCP-Protocol-Version": "2025-11-25"}
IN_TOKENS = {"access.token.claim": "true", "introspection.token.claim": "true"}


def scope(name: str, *mappers: tuple[str, dict[str, str]]) -> dict[str, object]:
    """A client scope whose mappers put claims into tokens."""
    return {
        "name": name,
        "protocol": "openid-connect",
        "attributes": {"include.in.token.scope": "false"},
        "protocolMappers": [
            {
                "name": f"{name}-{number}",
                "protocol": "openid-connect",
                "protocolMapper": mapper,
                "config": {**config, **IN_TOKENS},
            }
            for number, (mapper, config) in enumerate(mappers)
        ],
    }


def client(name: str, default: list[str], optional: list[str], **changes: object) -> dict[str, object]:
    """A confidential client whose secret is its name with `-secret`."""
    return {
        "clientId": name,
        "secret": f"{name}-secret",
        "publicClient": False,
        "standardFlowEnabled": False,
        "fullScopeAllowed": False,
        "defaultClientScopes": default,
        "optionalClientScopes": optional,
        **changes,
    }


def agent(central: Keycloak, name: str, tenant: str, *scopes: str) -> None:
    """Create a client with a service account of a tenant, whose tokens are for the MCP server."""
    central.admin(
        "POST", "/somabrain/clients", client(name, ["basic", "mcp", "tenant", *scopes], [], serviceAccountsEnabled=True)
    )
    (created,) = central.admin("GET", f"/somabrain/clients?clientId={name}")
    user = central.admin("GET", f"/somabrain/clients/{created['id']}/service-account-user")
    central.admin("PUT", f"/somabrain/users/{user['id']}", {**user, "attributes": {"tenant": [tenant]}})


@pytest.fixture(scope="module")
def central() -> Iterator[Keycloak]:
    """Keycloak as an administrator sets it up for an MCP server: docs/mcp.md has these steps."""
    with keycloak() as running:
        profile = running.admin("GET", "/somabrain/users/profile")
        running.admin("PUT", "/somabrain/users/profile", {**profile, "unmanagedAttributePolicy": "ENABLED"})
        audience = scope(
            "mcp",
            ("oidc-audience-mapper", {"included.client.audience": "sb-mcp"}),
            ("oidc-audience-mapper", {"included.custom.audience": RESOURCE}),
        )
        tenant = scope(
            "tenant",
            (
                "oidc-usermodel-attribute-mapper",
                {"user.attribute": "tenant", "claim.name": "tenant", "jsonType.label": "String"},
            ),
        )
        for each in (audience, tenant):
            running.admin("POST", "/somabrain/client-scopes", each)
        exchanging = client(
            "sb-mcp",
            ["basic", "somabrain", "tenant"],
            ["memory.read", "memory.write"],
            attributes={"standard.token.exchange.enabled": "true"},
        )
        running.admin("POST", "/somabrain/clients", exchanging)
        greedy = client(
            "sb-greedy",
            ["basic", "somabrain", "tenant", "memory.read", "memory.write", "memory.admin"],
            [],
            attributes={"standard.token.exchange.enabled": "true"},
        )
        running.admin("POST", "/somabrain/clients", greedy)
        running.admin(
            "POST",
            "/somabrain/client-scopes",
            scope("greedy", ("oidc-audience-mapper", {"included.client.audience": "sb-greedy"})),
        )
        agent(running, "mcp-a", "a", "memory.read", "memory.write")
        agent(running, "mcp-b", "b", "memory.read", "memory.write")
        agent(running, "mcp-reader", "a", "memory.read", "greedy")
        yield running


@pytest.fixture(scope="module")
def auth(central: Keycloak) -> dict[str, object]:
    return {
        "auth__mode": "introspection",
        "auth__issuer": central.issuer(),
        "auth__jwks_url": central.endpoint("certs"),
        "auth__introspection__address": central.url,
        "auth__introspection__path": central.endpoint("token/introspect").removeprefix(central.url),
        "auth__introspection__client_id": SERVICE[0],
        "auth__introspection__client_secret": SERVICE[1],
        "auth__tenant_claim": "/tenant",
        "auth__scope_claim": "/scope",
        "auth__cache_s": CACHE_S,
        "auth__refusal_cache_s": 0,
    }


@pytest.fixture(scope="module")
def identified(folder: Path, settings: dict[str, object], auth: dict[str, object]) -> Iterator[ServiceProcess]:
    """The memory service, whose tokens have the audience `somabrain`."""
    with service(folder, {**settings, **auth}) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture(scope="module")
def exchanging(central: Keycloak, auth: dict[str, object], identified: ServiceProcess) -> dict[str, object]:
    return {
        **auth,
        "auth__audience": RESOURCE,
        "mcp__address": identified.address,
        "mcp__resource_url": RESOURCE,
        "mcp__namespace": "agent",
        "mcp__exchange__url": central.endpoint("token"),
        "mcp__exchange__client_id": "sb-mcp",
        "mcp__exchange__client_secret": "sb-mcp-secret",
    }


@pytest.fixture(scope="module")
def server(folder: Path, exchanging: dict[str, object]) -> Iterator[McpProcess]:
    with mcp_server(folder, exchanging) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def namespaces(central: Keycloak, identified: ServiceProcess) -> None:
    for admin in ("a-admin", "b-admin"):
        with SyncMemoryClient(identified.address, token=central.token(admin)) as memory:
            memory.create_namespace("agent")


def text(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


def exchanges(server: McpProcess, outcome: str) -> float:
    start = f'somabrain_mcp_token_exchanges_total{{outcome="{outcome}"}}'
    return sum(float(line.split()[-1]) for line in server.get("/metrics")[1].splitlines() if line.startswith(start))


async def test_mcp_call_reaches_the_service_as_its_caller(central: Keycloak, server: McpProcess) -> None:
    """Two tenants are isolated through one MCP server; a token is exchanged once, and then cached."""
    a, b = central.token("mcp-a"), central.token("mcp-b")
    before = exchanges(server, "exchanged")
    async with server.client(a) as one, server.client(b) as two:
        stored = await one.call_tool("remember", {"text": "The vault opens with a brass key.", "key": "vault"})
        assert not stored.is_error, text(stored)
        for _ in range(3):
            assert (await two.call_tool("recall", {"query": "vault key"})).structured_content == {"hits": []}
        assert "NOT_FOUND" in text(await two.call_tool("get", {"key": "vault"}))
        found = (await one.call_tool("recall", {"query": "vault key"})).structured_content
        assert found["hits"][0]["memory"] == stored.structured_content
    assert exchanges(server, "exchanged") == before + 2


async def test_exchanged_token_has_only_scopes_of_the_caller(central: Keycloak, server: McpProcess) -> None:
    """The exchanged token has only scopes of the caller's, although the identity service would grant more."""
    async with server.client(central.token("mcp-reader")) as client:
        assert not (await client.call_tool("list", {})).is_error
        refused = await client.call_tool("remember", {"text": "x"})
        assert refused.is_error
        assert "needs the scope memory.write" in text(refused)


async def test_exchange_with_additional_scopes_is_refused(
    folder: Path, exchanging: dict[str, object], central: Keycloak
) -> None:
    """A client that gets all scopes by default would make a reader a writer: no call is made with its tokens."""
    greedy = {"mcp__exchange__client_id": "sb-greedy", "mcp__exchange__client_secret": "sb-greedy-secret"}
    with mcp_server(folder, {**exchanging, **greedy}) as running:
        (created,) = central.admin("GET", "/somabrain/clients?clientId=mcp-reader")
        (greedy_scope,) = [
            each for each in central.admin("GET", "/somabrain/client-scopes") if each["name"] == "greedy"
        ]
        central.admin("PUT", f"/somabrain/clients/{created['id']}/default-client-scopes/{greedy_scope['id']}", {})
        async with running.client(central.token("mcp-reader")) as client:
            refused = await client.call_tool("list", {})
            assert refused.is_error
            assert "with more scopes (memory.admin, memory.write) than the caller's has" in text(refused)


async def test_token_of_another_audience_is_refused(
    central: Keycloak, server: McpProcess, identified: ServiceProcess
) -> None:
    """The memory service's tokens are not the MCP server's, nor the other way around: 401, and UNAUTHENTICATED."""
    for token in (central.token("a-admin"), central.token("a-elsewhere"), central.token("nobody"), "rubbish"):
        async with server.authorized_client(token) as http:
            assert (await http.post(server.url, json=CALL, headers=HEADERS)).status_code == 401
    async with MemoryClient(
        identified.address, token=central.token("mcp-a"), retry=RetryPolicy(max_attempts=1)
    ) as memory:
        with pytest.raises(UnauthenticatedError):
            await memory.get_namespace("agent")


async def test_revoked_token_is_refused_despite_cached_exchange(central: Keycloak, server: McpProcess) -> None:
    """Once the cached verification has passed, 401 says that the token is invalid, whatever was exchanged for it."""
    token = central.token("mcp-a")
    async with server.authorized_client(token) as http:
        assert (await http.post(server.url, json=CALL, headers=HEADERS)).status_code == 200
        central.revoke(token, "mcp-a")
        await asyncio.sleep(CACHE_S + 0.5)
        answer = await http.post(server.url, json=CALL, headers=HEADERS)
        assert answer.status_code == 401
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


async def test_token_refused_by_the_service_is_exchanged_again(
    central: Keycloak, server: McpProcess, identified: ServiceProcess
) -> None:
    """When the service no longer accepts what was exchanged, the caller gets 401, and its next call a new exchange."""
    token = central.token("mcp-a")
    async with server.authorized_client(token) as http:
        assert (await http.post(server.url, json=CALL, headers=HEADERS)).status_code == 200
        # All tokens that were issued to the client until now are invalid.
        (created,) = central.admin("GET", "/somabrain/clients?clientId=sb-mcp")
        central.admin("PUT", f"/somabrain/clients/{created['id']}", {**created, "enabled": False})
        await asyncio.sleep(CACHE_S + 0.5)
        assert (await http.post(server.url, json=CALL, headers=HEADERS)).status_code == 401
        central.admin("PUT", f"/somabrain/clients/{created['id']}", {**created, "enabled": True})
        before = exchanges(server, "exchanged")
        await asyncio.sleep(CACHE_S + 0.5)
        answer = await http.post(server.url, json=CALL, headers=HEADERS)
        assert (answer.status_code, answer.json()["result"].get("isError", False)) == (200, False)
        assert exchanges(server, "exchanged") == before + 1


async def test_refused_exchange_client_is_reported_without_secrets(
    folder: Path, exchanging: dict[str, object], central: Keycloak
) -> None:
    """With a wrong secret nobody is admitted; health and log name the settings, and neither has a secret or token."""
    token = central.token("mcp-a")
    with mcp_server(folder, {**exchanging, "mcp__exchange__client_secret": "wrong-secret"}) as running:
        async with running.client(token) as client:
            refused = await client.call_tool("list", {})
            assert refused.is_error
            assert "UNAVAILABLE" in text(refused)
        status, health = running.get("/healthz")
        assert (status, "check mcp.exchange.client_id" in health) == (200, True)
        assert running.events("token exchange failed")
        log = running.log.read_text()
        assert "wrong-secret" not in log
        assert token not in log
