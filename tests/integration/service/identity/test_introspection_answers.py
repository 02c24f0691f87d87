"""Invalid answers of an identity service: nobody is authenticated, and our secrets go to no other address."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from common.auth.introspection import IntrospectionVerifier
from common.config.settings import AuthSettings
from common.errors import ConfigurationError, Unauthenticated, Unavailable
from common.utils.auth_client import Authenticator, TokenAuthenticator, open_authenticator
from tests.integration.service.answering import NESTED

ISSUER = "https://id.example/realms/somabrain"


def active(**changes: object) -> dict[str, object]:
    return {
        "active": True,
        "iss": ISSUER,
        "aud": ["somabrain", "account"],
        "sub": "agent",
        "tenant": "a",
        "exp": time.time() + 600,
        "token_type": "Bearer",
        "scope": "memory.read",
        **changes,
    }


@dataclass
class Endpoint:
    """An endpoint that answers as a test sets it, and records its requests."""

    address: str
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    wait_s: float = 0.0
    requests: list[tuple[str, str, dict[str, list[str]]]] = field(default_factory=list)
    """Path, Authorization, form."""
    secret: str | None = None
    """The only client secret that is not refused; None: all are accepted."""

    def respond_with(self, document: object) -> None:
        self.body = json.dumps(document).encode()


@contextmanager
def listening() -> Iterator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            running.requests.append((self.path, self.headers["Authorization"], form))
            time.sleep(running.wait_s)
            _, _, secret = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).partition(b":")
            refused = running.secret is not None and secret.decode() != running.secret
            self.send_response(401 if refused else running.status)
            for name, value in running.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(running.body)))
            self.end_headers()
            self.wfile.write(running.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running = Endpoint(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with listening() as running:
        running.respond_with(active())
        yield running


def settings(endpoint: Endpoint, **changes: object) -> AuthSettings:
    introspection = {
        "address": endpoint.address,
        "path": "/introspect",
        "client_id": "brain:1",
        "client_secret": "s p+ä",
        "timeout_s": 0.5,
    }
    return AuthSettings.model_validate(
        {
            "mode": "introspection",
            "issuer": ISSUER,
            "tenant_claim": "/tenant",
            "introspection": introspection,
            **changes,
        }
    )


async def refusal(authenticate: Authenticator, token: str = "opaque") -> str:
    with pytest.raises(Unauthenticated) as caught:
        await authenticate.identify(token)
    return caught.value.cause


async def test_introspection_authenticates_as_client_and_returns_identity(endpoint: Endpoint) -> None:
    async with open_authenticator(settings(endpoint, scope_claim="/scope"), "0.0.0.0") as authenticate:
        identity = await authenticate.identify("opaque")
    assert (identity.subject, identity.tenant, identity.issuer) == ("agent", "a", ISSUER)
    assert identity.scopes == frozenset({"memory.read"})
    (path, authorization, form) = endpoint.requests[0]
    assert (path, form["token"]) == ("/introspect", ["opaque"])
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"brain%3A1:s+p%2B%C3%A4"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"active": False}, "inactive"),
        ({"iss": "https://id.example/realms/another"}, "wrong_issuer"),
        ({"aud": "account"}, "wrong_audience"),
        ({"aud": ["somabrain-other"]}, "wrong_audience"),
        ({"exp": 1}, "expired"),
        ({"exp": "soon"}, "malformed"),
        ({"exp": float("nan")}, "malformed"),
        ({"exp": 10**400}, "malformed"),
        ({"nbf": 10**400}, "malformed"),
        ({"nbf": time.time() + 3600}, "not_yet_valid"),
        ({"sub": None}, "claim_missing"),
        ({"exp": None}, "claim_missing"),
        ({"tenant": ""}, "tenant_missing"),
        ({"token_type": "Refresh"}, "wrong_type"),
        ({"token_type": "DPoP"}, "wrong_type"),
    ],
)
async def test_active_token_with_invalid_claims_is_refused(
    endpoint: Endpoint, changes: dict[str, object], cause: str
) -> None:
    endpoint.respond_with(active(**changes))
    async with open_authenticator(settings(endpoint), "0.0.0.0") as authenticate:
        assert await refusal(authenticate) == cause


@pytest.mark.parametrize("status", [204, 302, 307, 401, 403, 404, 429, 500, 503])
async def test_unexpected_introspection_status_is_unavailable_and_retried(endpoint: Endpoint, status: int) -> None:
    """No such status authenticates or refuses a caller, not even a refusal of our own client; the next call retries."""
    with listening() as elsewhere:
        elsewhere.respond_with(active())
        endpoint.status = status
        endpoint.headers["Location"] = f"{elsewhere.address}/introspect"
        async with open_authenticator(settings(endpoint), "0.0.0.0") as authenticate:
            with pytest.raises(Unavailable):
                await authenticate.identify("opaque")
            endpoint.status = 200
            assert (await authenticate.identify("opaque")).tenant == "a"
        assert elsewhere.requests == [], "the token and our secret were sent to another address"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"{}", b'{"active": "true"}', b'{"active": 1}', b"\xff", NESTED.encode()]
)
async def test_invalid_introspection_body_is_unavailable(endpoint: Endpoint, body: bytes) -> None:
    endpoint.body = body
    async with open_authenticator(settings(endpoint), "0.0.0.0") as authenticate:
        with pytest.raises(Unavailable):
            await authenticate.identify("opaque")


@pytest.mark.parametrize("code", ["invalid_client", "unauthorized_client"])
async def test_rejected_client_credentials_do_not_refuse_the_token(endpoint: Endpoint, code: str) -> None:
    """A status of 400 may refuse our own credentials (RFC 6749, 5.2): the caller is told to retry with this token."""
    endpoint.status, endpoint.body = 400, json.dumps({"error": code}).encode()
    async with open_authenticator(settings(endpoint), "0.0.0.0") as authenticate:
        with pytest.raises(Unavailable):
            await authenticate.identify("opaque")
        assert "check auth.introspection.client_id and client_secret" in authenticate.checks()["issuer"]().reason
        endpoint.body = json.dumps({"error": "invalid_request"}).encode()
        assert await refusal(authenticate, "cannot be parsed") == "malformed"
        assert authenticate.checks()["issuer"]().ok


async def test_rotated_client_secret_is_reread(endpoint: Endpoint) -> None:
    """A refusal makes the service send the current secret; the caller is not affected."""
    endpoint.secret = "new"
    before, after = (
        settings(
            endpoint,
            introspection={
                "address": endpoint.address,
                "path": "/introspect",
                "client_id": "brain",
                "client_secret": secret,
            },
        )
        for secret in ("old", "new")
    )
    async with open_authenticator(before, "0.0.0.0", lambda: after) as authenticate:
        assert (await authenticate.identify("opaque")).tenant == "a"
        assert len(endpoint.requests) == 2
        await authenticate.identify("another")
        assert len(endpoint.requests) == 3


@pytest.mark.parametrize("missing", ["client_id", "client_secret"])
async def test_incomplete_rotated_client_secret_keeps_the_error(endpoint: Endpoint, missing: str) -> None:
    """The health check has the refusal, and callers are told to retry; once the secret is complete it is used."""
    before = settings(endpoint)
    incomplete = before.introspection.model_copy(update={missing: None})
    now = before.model_copy(update={"introspection": incomplete})
    endpoint.secret = "new"
    async with IntrospectionVerifier(before, lambda: now) as verifier:
        await verifier.probe()
        assert "answered 401; check auth.introspection.client_id" in verifier.last_check().reason
        with pytest.raises(Unavailable):
            await verifier.verify("opaque")
        complete = before.introspection.model_copy(update={"client_secret": SecretStr("new")})
        now = before.model_copy(update={"introspection": complete})
        await verifier.probe()
        assert verifier.last_check().ok


async def test_health_check_probes_identity_service_without_callers(endpoint: Endpoint) -> None:
    """The health check reports a failing identity service and a refused client before the first caller is affected."""
    endpoint.respond_with({"active": False})
    async with IntrospectionVerifier(settings(endpoint)) as verifier:
        assert not verifier.last_check().ok
        await verifier.probe()
        assert verifier.last_check().ok
        await verifier.probe()
        assert len(endpoint.requests) == 1, "it answered a moment ago"
    endpoint.status = 401
    async with IntrospectionVerifier(settings(endpoint)) as verifier:
        await verifier.probe()
        assert "answered 401" in verifier.last_check().reason


async def test_silent_identity_service_times_out_as_unavailable(endpoint: Endpoint) -> None:
    endpoint.wait_s = 2
    async with open_authenticator(settings(endpoint), "0.0.0.0") as authenticate:
        with pytest.raises(Unavailable):
            await authenticate.identify("opaque")


async def test_concurrent_calls_introspect_a_token_once(endpoint: Endpoint) -> None:
    endpoint.wait_s = 0.1
    async with open_authenticator(settings(endpoint), "0.0.0.0") as authenticate:
        await asyncio.gather(*(authenticate.identify("opaque") for _ in range(200)))
        assert len(endpoint.requests) == 1
        await authenticate.identify("opaque")
        assert len(endpoint.requests) == 1
        endpoint.respond_with({"active": False})
        refused = await asyncio.gather(*(authenticate.identify("other") for _ in range(200)), return_exceptions=True)
        assert {type(error) for error in refused} == {Unauthenticated}
        assert len(endpoint.requests) == 2


async def test_introspection_results_are_cached_for_their_ttl(endpoint: Endpoint) -> None:
    chosen = settings(endpoint, cache_s=0.5, refusal_cache_s=0.5)
    async with open_authenticator(chosen, "0.0.0.0") as authenticate:
        await authenticate.identify("opaque")
        endpoint.respond_with({"active": False})
        await authenticate.identify("opaque")
        await asyncio.sleep(0.6)
        assert await refusal(authenticate) == "inactive"
        endpoint.respond_with(active())
        assert await refusal(authenticate) == "inactive"
        await asyncio.sleep(0.6)
        assert (await authenticate.identify("opaque")).tenant == "a"


async def test_cached_introspection_ends_at_token_expiry(endpoint: Endpoint) -> None:
    endpoint.respond_with(active(exp=time.time() + 0.5))
    async with open_authenticator(settings(endpoint, leeway_s=0), "0.0.0.0") as authenticate:
        await authenticate.identify("opaque")
        await asyncio.sleep(0.6)
        assert await refusal(authenticate) == "expired"
        assert len(endpoint.requests) == 2


async def test_invalid_tokens_do_not_evict_cached_valid_tokens(endpoint: Endpoint) -> None:
    chosen = settings(endpoint)
    async with IntrospectionVerifier(chosen) as verifier:
        authenticate = TokenAuthenticator(chosen, verifier, max_cached_tokens=100)
        await authenticate.identify("opaque")
        endpoint.respond_with({"active": False})
        for number in range(300):
            await refusal(authenticate, f"made-up-{number}")
        await authenticate.identify("opaque")
        assert len(endpoint.requests) == 301


async def test_introspection_requires_client_credentials(endpoint: Endpoint) -> None:
    chosen = settings(endpoint, introspection={"address": endpoint.address})
    with pytest.raises(ConfigurationError, match=r"auth\.introspection: client_id and client_secret are required"):
        async with open_authenticator(chosen, "0.0.0.0"):
            pass
