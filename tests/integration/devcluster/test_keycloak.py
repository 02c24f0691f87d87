"""The tests' Keycloak has its clients, revokes tokens, rotates keys, and restarts at the same address."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Iterator
from urllib.error import URLError

import pytest

from devcluster.loopback import Keycloak, keycloak

pytestmark = pytest.mark.timeout(600)  # it starts in 25 s where nothing else runs


@pytest.fixture(scope="module")
def server() -> Iterator[Keycloak]:
    with keycloak() as running:
        yield running


def keys(server: Keycloak) -> set[str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(server.endpoint("certs"), timeout=30) as response:
        return {key["kid"] for key in json.load(response)["keys"]}


@pytest.mark.parametrize(
    ("client", "tenant", "scopes", "audience"),
    [
        ("a-admin", "a", {"memory.read", "memory.write", "memory.admin"}, "somabrain"),
        ("a-agent", "a", {"memory.read", "memory.write"}, "somabrain"),
        ("a-reader", "a", {"memory.read"}, "somabrain"),
        ("b-admin", "b", {"memory.read", "memory.write", "memory.admin"}, "somabrain"),
        ("a-elsewhere", "a", {"memory.read", "memory.write", "memory.admin"}, "elsewhere"),
        ("nobody", None, {"memory.read", "memory.write", "memory.admin"}, "somabrain"),
    ],
)
def test_client_tokens_have_expected_tenant_scopes_and_issuer(
    server: Keycloak, client: str, tenant: str | None, scopes: set[str], audience: str
) -> None:
    """Introspection of each client's token gives its tenant, scopes, audience and issuer."""
    claims = server.introspect(server.token(client))
    assert claims["active"] is True
    assert (claims.get("tenant"), set(claims["scope"].split()), claims["aud"]) == (tenant, scopes, audience)
    assert claims["iss"] == server.issuer()


def test_revoked_or_foreign_realm_token_is_inactive(server: Keycloak) -> None:
    """A token of another realm and a revoked token are not active."""
    assert server.introspect(server.token("a-admin", "elsewhere")) == {"active": False}
    token = server.token("a-admin")
    server.revoke(token, "a-admin")
    assert server.introspect(token) == {"active": False}


def test_short_lived_token_expires_after_three_seconds(server: Keycloak) -> None:
    """A brief token expires after three seconds, so that a test can wait for it."""
    claims = server.introspect(server.token("a-brief"))
    assert claims["exp"] - claims["iat"] == 3


def test_key_rotation_keeps_previous_key_published(server: Keycloak) -> None:
    """After a rotation the old key is still published, and tokens signed with it stay active."""
    before, token = keys(server), server.token("a-admin")
    server.rotate_keys()
    assert keys(server) > before
    assert server.introspect(token)["active"] is True


def test_keycloak_restart_preserves_signing_keys(server: Keycloak) -> None:
    """A restarted Keycloak has its keys, and a token signed before is active."""
    token, before = server.token("a-admin"), keys(server)
    server.process.stop(signal.SIGTERM)  # killed, its database would lose the half second that it had not written yet
    with pytest.raises(URLError, match="refused"):
        server.introspect(token)
    server.process.start()
    assert keys(server) == before
    assert server.introspect(token)["active"] is True
