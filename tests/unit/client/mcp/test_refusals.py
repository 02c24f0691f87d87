"""Error texts for the model, and the checks of Host, Origin and exchanged tokens."""

from __future__ import annotations

import time

import grpc
import jwt
import pytest
from pydantic import ValidationError

from common.auth.identity import Identity
from common.config.settings import AuthSettings, McpSettings, TokenExchangeSettings
from common.errors import PermissionDenied
from somabrain_client.errors import CallError, ErrorDetails
from somabrain_client.mcp.arguments import Get, Recall, Update
from somabrain_client.mcp.protected_resource import ProtectedResource
from somabrain_client.mcp.request_origin import accepted_origins
from somabrain_client.mcp.token_exchange import TokenClaims
from somabrain_client.mcp.tool_errors import arguments_message, call_message

SECRET = "s" * 32
KEY = "k" * 32


def call_error(fields: dict[str, str], message: str, retry_after_s: float | None = None) -> CallError:
    details = ErrorDetails("INVALID_ARGUMENT", {}, "r1", retry_after_s, fields)
    return CallError(grpc.StatusCode.INVALID_ARGUMENT, message, details)


@pytest.mark.parametrize(
    ("field", "argument"),
    [
        ("memory.text", "text"),
        ("top_k", "limit"),
        ("page_size", "limit"),
        ("filter.sessions", "sessions"),
        ("parent", "namespace"),
        ("memory.key", "new_key"),
        ("query", "query"),
    ],
)
def test_call_message_maps_contract_fields_to_arguments(field: str, argument: str) -> None:
    error = call_error({field: "is too long; shorten it"}, f"{field}: is too long; shorten it", 1.5)
    assert call_message(error) == (
        f"INVALID_ARGUMENT: {argument}: is too long; shorten it Try again in 1.5 s. (request r1)"
    )


def test_call_message_without_details_has_status_and_message() -> None:
    error = CallError(grpc.StatusCode.UNAVAILABLE, "the service is away", ErrorDetails())
    assert call_message(error) == "UNAVAILABLE: the service is away"


def test_arguments_message_names_fields_without_values() -> None:
    """The message lists unknown, missing and invalid arguments at once, without their values."""
    with pytest.raises(ValidationError) as caught:
        Recall.model_validate({"limit": "sesame", "open": "sesame"})
    message = arguments_message("recall", caught.value, Recall.model_fields)
    assert "query: is required." in message
    assert "limit: must be a valid integer" in message
    assert "open: is no argument of recall; it takes namespace, sessions" in message
    assert "sesame" not in message


def test_memory_is_addressed_by_either_name_or_key() -> None:
    assert Get(key="a/b").memory("notes") == "namespaces/notes/keys/a/b"
    assert Get(name="namespaces/n/memories/1").memory("notes") == "namespaces/n/memories/1"
    for given in ({}, {"name": "n", "key": "k"}):
        with pytest.raises(ValidationError, match="give either `name` or `key`"):
            Get.model_validate(given)
    with pytest.raises(ValidationError, match="needs `key` and `text`"):
        Update.model_validate({"name": "n", "text": "t", "allow_missing": True})


@pytest.mark.parametrize(
    ("host", "accepted"),
    [
        ("127.0.0.1:8090", True),
        ("localhost", False),
        ("localhost:80", True),
        ("[::1]:1", True),
        ("memory.example.com", True),
        ("MEMORY.EXAMPLE.COM", True),
        ("memory.example.com:8443", False),
        ("mcp.svc:8090", True),
        ("mcp.svc", False),
        ("evil.example", False),
        ("localhost:80.evil.example", False),
        ("localhost:evil", False),
        ("", False),
        (None, False),
    ],
)
def test_accepts_host(host: str | None, accepted: bool) -> None:
    """Accepted are loopback with any port, the public URL's host, and the listed ones."""
    origin = accepted_origins(("mcp.svc:*",), (), "https://memory.example.com/mcp", loopback=False)
    assert origin.accepts_host(host) is accepted


@pytest.mark.parametrize(
    ("origin", "on_loopback", "elsewhere"),
    [
        (None, True, True),
        ("https://memory.example.com", True, True),
        ("http://localhost:3000", True, False),
        ("https://console.example.com", True, True),
        ("null", False, False),
        ("https://evil.example", False, False),
        ("http://memory.example.com", False, False),
        ("http://localhost.evil.example:1", False, False),
    ],
)
def test_accepts_origin(origin: str | None, on_loopback: bool, elsewhere: bool) -> None:
    """Accepted are the public URL's origin, the listed ones, and on a loopback host those of loopback."""
    for loopback, accepted in ((True, on_loopback), (False, elsewhere)):
        listed = ("https://console.example.com",)
        accepted_by = accepted_origins((), listed, "https://memory.example.com/mcp", loopback=loopback)
        assert accepted_by.accepts_origin(origin) is accepted


@pytest.mark.parametrize(
    ("url", "path", "metadata"),
    [
        ("https://m.example/mcp", "/mcp", "/.well-known/oauth-protected-resource/mcp"),
        ("https://m.example/a/b", "/a/b", "/.well-known/oauth-protected-resource/a/b"),
        ("https://m.example:8443", "/", "/.well-known/oauth-protected-resource"),
        ("https://m.example/", "/", "/.well-known/oauth-protected-resource"),
    ],
)
def test_metadata_path_follows_rfc_9728(url: str, path: str, metadata: str) -> None:
    resource = ProtectedResource(url, "https://id.example", with_scopes=True)
    assert (resource.path, resource.metadata_path) == (path, metadata)
    assert resource.challenge().startswith('Bearer resource_metadata="https://m.example')
    assert resource.metadata()["scopes_supported"] == ["memory.read", "memory.write"]


def exchanged_token(**claims: object) -> str:
    return jwt.encode({"sub": "ada", "tenant": "a", "scope": "memory.read", **claims}, KEY, algorithm="HS256")


@pytest.mark.parametrize(
    ("token", "error"),
    [
        (exchanged_token(), None),
        (exchanged_token(scope=""), None),
        ("opaque", None),
        (exchanged_token(sub="eve"), "another subject or tenant"),
        (exchanged_token(tenant="b"), "another subject or tenant"),
        (exchanged_token(scope="memory.read memory.write"), r"more scopes \(memory.write\)"),
        (exchanged_token(scope=["memory.admin"]), r"more scopes \(memory.admin\)"),
    ],
)
def test_exchanged_token_with_other_identity_or_more_scopes_is_rejected(token: str, error: str | None) -> None:
    claims = TokenClaims(AuthSettings(tenant_claim="/tenant", scope_claim="/scope"))
    identity = Identity("ada", "a", "https://id.example", frozenset({"memory.read"}), time.time() + 60)
    if error is None:
        claims.check(token, identity)
    else:
        with pytest.raises(PermissionDenied, match=error):
            claims.check(token, identity)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cert_file": "/c"}, "cert_file and key_file must be set together"),
        ({"token": SECRET, "token_file": "/t"}, "token and token_file exclude each other"),
        ({"resource_url": "https://m.example/mcp?x=1"}, "String should match"),
        ({"exchange": {"url": "https://id/token", "client_id": "c"}}, "requires client_id and client_secret"),
        (
            {
                "same_resource": True,
                "exchange": {"url": "https://id/token", "client_id": "c", "client_secret": SECRET},
            },
            "same_resource and exchange.url exclude each other",
        ),
    ],
)
def test_conflicting_settings_are_rejected(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        McpSettings.model_validate(settings)
    assert TokenExchangeSettings().url is None
    assert SECRET not in str(caught.value.errors(include_input=False))
