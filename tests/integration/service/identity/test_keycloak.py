"""Tokens of a real Keycloak over gRPC, in both modes: by introspection and by its keys."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from devcluster.loopback import Keycloak, keycloak
from devcluster.loopback.keycloak import SERVICE
from somabrain_client import ClientCredentials, MemoryClient, RetryPolicy
from somabrain_client.credentials import TokenError
from somabrain_client.errors import NotFoundError, PermissionDeniedError, UnauthenticatedError, UnavailableError
from tests.integration.service.service_process import ServiceProcess, service

pytestmark = pytest.mark.timeout(600)

ONCE = RetryPolicy(max_attempts=1)
LIFE_S = 2.0
OVER_S = LIFE_S + 0.5
MODES = ("introspection", "jwt")
SENTENCE = "The call carries no valid token. Send `authorization: Bearer <token>`."


@pytest.fixture(scope="module")
def central() -> Iterator[Keycloak]:
    with keycloak() as running:
        yield running


def auth_settings(central: Keycloak, mode: str, settings: dict[str, object], **changes: object) -> dict[str, object]:
    """Settings of a service that authenticates in one of the modes, with a short cache."""
    endpoint = central.endpoint("token/introspect")
    return {
        **settings,
        "auth__mode": mode,
        "auth__issuer": central.issuer(),
        "auth__jwks_url": central.endpoint("certs"),
        "auth__introspection__address": central.url,
        "auth__introspection__path": endpoint.removeprefix(central.url),
        "auth__introspection__client_id": SERVICE[0],
        "auth__introspection__client_secret": SERVICE[1],
        "auth__tenant_claim": "/tenant",
        "auth__scope_claim": "/scope",
        "auth__leeway_s": 0,
        "auth__cache_s": LIFE_S,
        "auth__refusal_cache_s": 1,
        **changes,
    }


@pytest.fixture(scope="module")
def brains(central: Keycloak, settings: dict[str, object], folder: Path) -> Iterator[dict[str, ServiceProcess]]:
    """A service for each mode."""
    with (
        service(folder, auth_settings(central, "introspection", settings)) as introspecting,
        service(folder, auth_settings(central, "jwt", settings)) as verifying,
    ):
        for running in (introspecting, verifying):
            running.wait_until_ready()
        yield {"introspection": introspecting, "jwt": verifying}


def client(running: ServiceProcess, token: str | None) -> MemoryClient:
    return MemoryClient(running.address, token=token, retry=ONCE)


async def names(running: ServiceProcess, token: str | None) -> list[str]:
    async with client(running, token) as memory:
        return [namespace.name async for namespace in memory.list_namespaces()]


@pytest.mark.parametrize("mode", MODES)
async def test_tenant_and_scopes_come_from_token_claims(
    brains: dict[str, ServiceProcess], central: Keycloak, mode: str
) -> None:
    """Two tenants do not see each other, and a token with only the read scope cannot write."""
    running, namespace = brains[mode], f"keycloak-{mode}"
    async with client(running, central.token("a-admin")) as admin:
        await admin.create_namespace(namespace)
        memory = await admin.remember(namespace, "The sluice opens at high water.")
    async with client(running, central.token("a-reader")) as reader:
        assert (await reader.get(memory.name)).text == "The sluice opens at high water."
        with pytest.raises(PermissionDeniedError, match=r"needs the scope memory\.write"):
            await reader.remember(namespace, "no")
    async with client(running, central.token("b-admin")) as another:
        with pytest.raises(NotFoundError):
            await another.get(memory.name)


def part(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def unsigned(central: Keycloak) -> str:
    header, body, _ = central.token("a-admin").split(".")
    return f"{part({**jwt.get_unverified_header(f'{header}.{body}.'), 'alg': 'none'})}.{body}."


def signed_with_the_public_key(central: Keycloak) -> str:
    """A token signed by HMAC with the key that Keycloak publishes as the secret (RFC 8725, 2.1)."""
    token = central.token("a-admin")
    header = jwt.get_unverified_header(token)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(central.endpoint("certs"), timeout=30) as response:
        (key,) = [key for key in json.load(response)["keys"] if key["kid"] == header["kid"]]
    public = jwt.PyJWK.from_dict(key).key
    secret = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{part({**header, 'alg': 'HS256'})}.{token.split('.')[1]}"
    digest = hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def tampered(central: Keycloak) -> str:
    """A valid token in which only the tenant was changed."""
    header, body, signature = central.token("a-admin").split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{header}.{part({**claims, 'tenant': 'b'})}.{signature}"


REFUSED: dict[str, tuple[Callable[[Keycloak], str | None], str, str]] = {
    "none": (lambda central: None, "missing", "missing"),
    "malformed": (lambda central: "rubbish", "inactive", "malformed"),
    "another audience": (lambda central: central.token("a-elsewhere"), "wrong_audience", "wrong_audience"),
    "another realm": (lambda central: central.token("a-admin", "elsewhere"), "inactive", "unknown_key"),
    "no tenant": (lambda central: central.token("nobody"), "tenant_missing", "tenant_missing"),
    "malformed parts": (lambda central: "a.b.c", "inactive", "malformed"),
    "alg none": (unsigned, "malformed", "wrong_algorithm"),
    "HS256 with the public key": (signed_with_the_public_key, "inactive", "wrong_algorithm"),
    "tampered": (tampered, "inactive", "wrong_signature"),
}
"""Request that makes each, and its cause by introspection and by keys."""


def failures(running: ServiceProcess, cause: str) -> float:
    start = f'somabrain_auth_failures_total{{cause="{cause}"}}'
    return sum(float(line.split()[-1]) for line in running.get("/metrics")[1].splitlines() if line.startswith(start))


async def refused(running: ServiceProcess, token: str | None, cause: str) -> None:
    """Assert that a token is refused with the common message, and counted by its cause."""
    before = failures(running, cause)
    with pytest.raises(UnauthenticatedError) as caught:
        await names(running, token)
    assert caught.value.message == SENTENCE
    assert dict(caught.value.details.metadata) == {}
    assert failures(running, cause) == before + 1


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("mode", MODES)
async def test_invalid_token_is_unauthenticated(
    brains: dict[str, ServiceProcess], central: Keycloak, mode: str, kind: str
) -> None:
    make, *causes = REFUSED[kind]
    await refused(brains[mode], make(central), causes[MODES.index(mode)])


@pytest.mark.parametrize(("mode", "cause"), [("introspection", "inactive"), ("jwt", "expired")])
async def test_token_is_refused_after_exp_despite_caching(
    central: Keycloak, settings: dict[str, object], folder: Path, mode: str, cause: str
) -> None:
    with service(folder, auth_settings(central, mode, settings, auth__cache_s=60)) as running:
        running.wait_until_ready()
        token = central.token("a-brief")
        await names(running, token)
        await asyncio.sleep(4.2)  # it lives three seconds, and Keycloak counts whole ones
        await refused(running, token, cause)


async def test_revoked_token_is_refused_after_cache_expiry(
    brains: dict[str, ServiceProcess], central: Keycloak
) -> None:
    running, token = brains["introspection"], central.token("a-admin")
    await names(running, token)
    central.revoke(token, "a-admin")
    await names(running, token)  # the documented life of an answer
    await asyncio.sleep(OVER_S)
    await refused(running, token, "inactive")


async def test_revoked_uncached_token_is_refused_immediately(
    brains: dict[str, ServiceProcess], central: Keycloak
) -> None:
    token = central.token("a-admin")
    central.revoke(token, "a-admin")
    await refused(brains["introspection"], token, "inactive")


async def test_key_rotation_accepts_new_and_previous_keys(brains: dict[str, ServiceProcess], central: Keycloak) -> None:
    running, before = brains["jwt"], central.token("a-admin")
    await names(running, before)
    central.rotate_keys()
    after = central.token("a-admin")
    assert jwt.get_unverified_header(after)["kid"] != jwt.get_unverified_header(before)["kid"]
    await asyncio.sleep(1.1)  # keys are read at most once a second
    await names(running, after)
    await names(running, before)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("outage", ["frozen", "stopped"])
async def test_keycloak_outage_refuses_callers_after_cache_expiry_until_recovery(
    brains: dict[str, ServiceProcess], central: Keycloak, outage: str, mode: str
) -> None:
    running = brains[mode]
    cached, uncached = central.token("a-admin"), central.token("a-admin")
    await names(running, cached)
    before = failures(running, "unreachable")
    if outage == "frozen":
        central.process.freeze()
    else:
        await asyncio.to_thread(central.process.stop, signal.SIGKILL)
    try:
        await names(running, cached)  # the documented life of an answer
        await asyncio.sleep(OVER_S)
        for token in (cached, uncached):
            with pytest.raises(UnavailableError) as caught:
                await names(running, token)
            assert caught.value.details.retry_after_s
        assert failures(running, "unreachable") == before + 2
    finally:
        if outage == "frozen":
            central.process.thaw()
        else:
            central.process.start()
    patient = MemoryClient(running.address, token=central.token("a-admin"), deadline_s=30)
    async with patient:
        await anext(patient.list_namespaces(), None)


async def test_unknown_client_fails_authentication_and_cause_is_logged(
    central: Keycloak, settings: dict[str, object], folder: Path
) -> None:
    """The log has the reason, but neither the secret nor the token."""
    wrong = auth_settings(central, "introspection", settings, auth__introspection__client_secret="hunter2")
    token = central.token("a-admin")
    with service(folder, wrong) as running:
        running.wait_until_ready()
        with pytest.raises(UnavailableError, match="identity service gave no valid response"):
            await names(running, token)
        log = running.log.read_text()
    assert "the identity service answered 401; check auth.introspection.client_id and client_secret" in log
    assert "hunter2" not in log
    assert token not in log


async def test_client_fetches_and_renews_tokens_before_expiry(
    brains: dict[str, ServiceProcess], central: Keycloak
) -> None:
    """With tokens that live three seconds no call fails, and a revoked token is replaced."""
    source = ClientCredentials(central.endpoint("token"), "a-brief", "a-brief-secret")
    async with MemoryClient(brains["introspection"].address, token=source, retry=ONCE) as memory:
        tokens = set()
        for _ in range(8):
            tokens.add(await source())
            await anext(memory.list_namespaces(), None)  # no call fails
            await asyncio.sleep(0.6)
        assert len(tokens) > 1
    lasting = ClientCredentials(central.endpoint("token"), "a-admin", "a-admin-secret")
    async with MemoryClient(brains["introspection"].address, token=lasting, retry=ONCE) as memory:
        revoked = await lasting()
        await asyncio.to_thread(central.revoke, revoked, "a-admin")
        await anext(memory.list_namespaces(), None)  # no call fails
        assert await lasting() != revoked


async def test_client_secret_error_names_cause_without_the_secret(
    brains: dict[str, ServiceProcess], central: Keycloak, tmp_path: Path
) -> None:
    """The error names the cause but not the secret, which is in a file, also when nobody answers at the URL."""
    file = tmp_path / "secret"
    file.write_text("open-sesame\n")
    for url, message in (
        (central.endpoint("token"), "refused client a-admin"),
        ("http://127.0.0.1:1/", "gave no valid response"),
    ):
        source = ClientCredentials(url, "a-admin", file)
        async with MemoryClient(brains["introspection"].address, token=source, retry=ONCE) as memory:
            with pytest.raises(TokenError, match=message) as caught:
                await memory.get_namespace("any")
        assert "open-sesame" not in str(caught.value)


def test_logs_contain_no_token_or_secret(brains: dict[str, ServiceProcess]) -> None:
    """After all tests above, no log has the secret or `eyJ`, with which every token of Keycloak begins."""
    for running in brains.values():
        log = running.log.read_text()
        assert SERVICE[1] not in log
        assert "eyJ" not in log
