"""Tokens of a real issuer: which are accepted, which are refused, and how long an answer is cached."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from common.auth.jwks import MIN_REFRESH_INTERVAL_S
from common.config.settings import AuthSettings
from common.errors import ConfigurationError, Unauthenticated, Unavailable
from common.health import HealthCheck
from common.utils.auth_client import Authenticator, open_authenticator
from tests.integration.service.answering import NESTED, serving
from tests.integration.service.issuer import AUDIENCE, Issuer, RenewedIssuer, issuer, new_key
from tests.support.waiting import until


@pytest.fixture
def idp() -> Iterator[Issuer]:
    with issuer() as running:
        yield running


def settings(idp: Issuer, **changes: object) -> AuthSettings:
    chosen = {
        "issuer": idp.url,
        "jwks_url": f"{idp.url}/keys",
        "tenant_claim": "/tenant",
        "leeway_s": 0,
        **changes,
    }
    return AuthSettings.model_validate(chosen)


async def refusal(authenticate: Authenticator, token: str | None) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await authenticate.identify(token)
    return caught.value.cause


async def test_valid_token_identifies_its_tenant(idp: Issuer) -> None:
    async with open_authenticator(settings(idp), "0.0.0.0") as authenticate:
        identity = await authenticate.identify(idp.token("a"))
    assert (identity.subject, identity.tenant, identity.issuer, identity.scopes) == ("agent-of-a", "a", idp.url, None)


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def header(algorithm: str) -> str:
    return encoded(json.dumps({"alg": algorithm, "kid": "k1"}).encode())


def unsigned(idp: Issuer) -> str:
    return f"{header('none')}.{idp.token().split('.')[1]}."


def confused(idp: Issuer) -> str:
    """A token signed by HMAC with the public key as the secret (RFC 8725, 2.1)."""
    signed = f"{header('HS256')}.{idp.token().split('.')[1]}"
    secret = idp.published["k1"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"


REFUSED: dict[str, Callable[[Issuer], str | None]] = {
    "missing": lambda idp: None,
    "malformed": lambda idp: "not a token",
    "expired": lambda idp: idp.token(life_s=-1),
    "not_yet_valid": lambda idp: idp.token(nbf=time.time() + 60),
    "wrong_audience": lambda idp: idp.token(aud="somebody else"),
    "wrong_issuer": lambda idp: idp.token(iss="https://another.example"),
    "claim_missing": lambda idp: idp.token(exp=None),
    "tenant_missing": lambda idp: idp.token(tenant=None),
    "wrong_signature": lambda idp: idp.token(key=new_key()),
    "unknown_key": lambda idp: idp.token(kid="k9", key=new_key()),
}


@pytest.mark.parametrize("cause", REFUSED)
async def test_invalid_token_is_refused_with_its_cause(idp: Issuer, cause: str) -> None:
    async with open_authenticator(settings(idp), "0.0.0.0") as authenticate:
        assert await refusal(authenticate, REFUSED[cause](idp)) == cause


@pytest.mark.parametrize("algorithm", [[], {}, 7, None, "RS257"])
async def test_malformed_token_header_is_refused(idp: Issuer, algorithm: object) -> None:
    _, body, signature = idp.token().split(".")
    odd = encoded(json.dumps({"alg": algorithm, "kid": "k1"}).encode())
    async with open_authenticator(settings(idp), "0.0.0.0") as authenticate:
        assert await refusal(authenticate, f"{odd}.{body}.{signature}") in {"wrong_algorithm", "malformed"}


@pytest.mark.parametrize(("kind", "let_in"), [("at+jwt", True), ("JWT", True), ("logout+jwt", False), (["JWT"], False)])
async def test_token_type_other_than_access_token_is_refused(idp: Issuer, kind: object, let_in: bool) -> None:
    """Only access tokens are accepted: logout tokens, too, have the issuer's signature (RFC 8725, 3.11)."""
    now = time.time()
    claims = {"iss": idp.url, "aud": AUDIENCE, "sub": "x", "exp": now + 60, "tenant": "a"}
    headers = {"kid": "k1", "typ": kind}
    token = jwt.encode(claims, idp.published["k1"], algorithm="RS256", headers=headers)
    async with open_authenticator(settings(idp), "0.0.0.0") as authenticate:
        if let_in:
            assert (await authenticate.identify(token)).tenant == "a"
        else:
            assert await refusal(authenticate, token) == "wrong_type"


@pytest.mark.parametrize("forge", [unsigned, confused])
async def test_disallowed_algorithm_is_refused(idp: Issuer, forge: Callable[[Issuer], str]) -> None:
    async with open_authenticator(settings(idp), "0.0.0.0") as authenticate:
        assert await refusal(authenticate, forge(idp)) == "wrong_algorithm"


def with_header(header: str) -> str:
    """A token with this header, unsigned."""
    return base64.urlsafe_b64encode(header.encode()).decode().rstrip("=") + ".e30.c2lnbmVk"


DEEP = with_header("[" * 5_000 + "]" * 5_000)


@pytest.mark.parametrize("token", ["x" * 20_000, "a.b.c", "..", "\ud800", "é.é.é", "", DEEP])
async def test_garbage_token_is_malformed(idp: Issuer, token: str) -> None:
    async with open_authenticator(settings(idp), "0.0.0.0") as authenticate:
        assert await refusal(authenticate, token) == "malformed"


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [("r w", {"r", "w"}), (["r", "w"], {"r", "w"}), (None, set()), (7, set()), (["r", 7], {"r"})],
)
async def test_scope_claim_may_be_a_list_a_string_or_absent(idp: Issuer, claim: object, scopes: set[str]) -> None:
    async with open_authenticator(settings(idp, scope_claim="/scope"), "0.0.0.0") as authenticate:
        assert (await authenticate.identify(idp.token(scope=claim))).scopes == frozenset(scopes)


async def test_unreachable_issuer_fails_authentication(idp: Issuer) -> None:
    nobody = settings(idp, jwks_url="http://127.0.0.1:1/keys")
    async with open_authenticator(nobody, "0.0.0.0") as authenticate:
        for _ in range(2):
            with pytest.raises(Unavailable):
                await authenticate.identify(idp.token())


async def test_cached_token_is_refused_after_key_withdrawal_and_cache_expiry(idp: Issuer) -> None:
    """Once the issuer withdraws its key, a token that was accepted before is refused when the cached keys expire."""
    async with open_authenticator(settings(idp, cache_s=1.5), "0.0.0.0") as authenticate:
        token = idp.token()
        await authenticate.identify(token)
        idp.published.clear()
        await authenticate.identify(token)
        await asyncio.sleep(1.6)
        assert await refusal(authenticate, token) == "unknown_key"


async def test_cached_token_is_refused_after_its_expiry(idp: Issuer) -> None:
    async with open_authenticator(settings(idp), "0.0.0.0") as authenticate:
        token = idp.token(life_s=1)
        await authenticate.identify(token)
        await asyncio.sleep(1.1)
        assert await refusal(authenticate, token) == "expired"


async def test_unknown_key_id_triggers_jwks_refresh(idp: Issuer) -> None:
    async with open_authenticator(settings(idp), "0.0.0.0") as authenticate:
        await authenticate.identify(idp.token())
        idp.published["k2"] = new_key()
        await asyncio.sleep(1.1)  # keys are read at most once a second
        assert (await authenticate.identify(idp.token("b", kid="k2"))).tenant == "b"


async def test_invented_key_ids_do_not_load_the_issuer(idp: Issuer) -> None:
    async with open_authenticator(settings(idp), "0.0.0.0") as authenticate:
        for number in range(200):
            await refusal(authenticate, idp.token(kid=f"made-up-{number}", key=idp.published["k1"]))
    assert idp.fetches <= 3


async def test_concurrent_first_calls_fetch_jwks_once(idp: Issuer) -> None:
    async with open_authenticator(settings(idp), "0.0.0.0") as authenticate:
        await asyncio.gather(*(authenticate.identify(idp.token(f"t{number}")) for number in range(50)))
    assert idp.fetches == 1


async def test_jwks_bearer_token_file_is_reread_for_each_fetch(idp: Issuer, tmp_path: Path) -> None:
    own = tmp_path / "token"
    own.write_text("first\n")
    async with open_authenticator(settings(idp, jwks_token_file=own), "0.0.0.0") as authenticate:
        await authenticate.identify(idp.token())
        assert idp.bearer == "Bearer first"
        own.write_text("second\n")
        await asyncio.sleep(1.1)
        await refusal(authenticate, idp.token(kid="k9", key=idp.published["k1"]))
        assert idp.bearer == "Bearer second"


async def test_invalid_ca_bundle_fails_startup(idp: Issuer, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match=r"auth\.jwks_ca_file"):
        async with open_authenticator(settings(idp, jwks_ca_file=tmp_path / "ca.pem"), "0.0.0.0"):
            pass


def health(authenticate: Authenticator) -> HealthCheck:
    return authenticate.checks()["issuer"]()


async def test_renewed_issuer_ca_is_reloaded(tmp_path: Path) -> None:
    """Once the file has both authorities, the keys are read whichever of them signed the issuer's certificate."""
    renewed = RenewedIssuer(tmp_path)
    with issuer(renewed.tls) as idp:
        chosen = settings(idp, jwks_ca_file=renewed.ca_file, cache_s=0)
        async with open_authenticator(chosen, "0.0.0.0") as authenticate:
            await authenticate.identify(idp.token())
            assert health(authenticate).ok
            renewed.certify(renewed.second)
            await asyncio.sleep(1.1)  # keys are read at most once a second
            with pytest.raises(Unavailable):
                await authenticate.identify(idp.token("b"))
            assert not health(authenticate).ok
            assert "certificate verify failed" in health(authenticate).reason
            renewed.trust(renewed.first, renewed.second)
            await asyncio.sleep(1.1)
            assert (await authenticate.identify(idp.token("c"))).tenant == "c"
            assert health(authenticate).ok
            # The former authority is withdrawn as well: its certificates are no longer accepted.
            renewed.trust(renewed.second)
            renewed.certify(renewed.first)
            await asyncio.sleep(1.1)
            with pytest.raises(Unavailable):
                await authenticate.identify(idp.token("d"))


async def test_partially_written_ca_file_keeps_previous_ca(tmp_path: Path) -> None:
    renewed = RenewedIssuer(tmp_path)
    with issuer(renewed.tls) as idp:
        chosen = settings(idp, jwks_ca_file=renewed.ca_file, cache_s=0)
        async with open_authenticator(chosen, "0.0.0.0") as authenticate:
            await authenticate.identify(idp.token())
            for content in ("", "-----BEGIN CERTIFICATE-----\nhalf of it"):
                renewed.ca_file.write_text(content)
                await asyncio.sleep(1.1)
                await authenticate.identify(idp.token(f"at {len(content)}"))
            renewed.ca_file.unlink()
            await asyncio.sleep(1.1)
            await authenticate.identify(idp.token("gone"))


async def test_health_check_probes_issuer_without_callers(idp: Issuer) -> None:
    """The health check reports whether the keys can be read before the first caller is affected."""
    async with open_authenticator(settings(idp), "0.0.0.0") as authenticate:
        assert "not been queried" in health(authenticate).reason
        watching = asyncio.create_task(authenticate.watch())
        await asyncio.to_thread(until, lambda: health(authenticate).ok, "the issuer answers a probe")
        watching.cancel()
    assert idp.fetches == 1


async def test_unparsable_jwks_is_reported_and_fetched_again(idp: Issuer) -> None:
    """A JWK set that is nested too deeply ends neither a call nor the probes; once it is valid, tokens are accepted."""
    body = NESTED.encode()

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body)

    async with (
        serving(answer) as url,
        open_authenticator(settings(idp, jwks_url=url), "0.0.0.0") as authenticate,
    ):
        watching = asyncio.create_task(authenticate.watch())
        with pytest.raises(Unavailable, match="keys of the token issuer cannot be read"):
            await authenticate.identify(idp.token())
        assert "nested too deeply" in health(authenticate).reason
        body = idp.document()
        await asyncio.sleep(MIN_REFRESH_INTERVAL_S)
        assert (await authenticate.identify(idp.token())).tenant == "a"
        assert not watching.done()
        watching.cancel()


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
async def test_invalid_numeric_claim_is_malformed(idp: Issuer, name: str) -> None:
    """Integers of any length and infinity are JSON for Python's parser, but not a valid time."""
    async with open_authenticator(settings(idp), "0.0.0.0") as authenticate:
        for number in (10**400, float("inf")):
            with pytest.raises(Unauthenticated):
                await authenticate.identify(idp.token(**{name: number}))  # type: ignore[arg-type]


async def test_concurrent_callers_share_the_timeout_of_a_silent_issuer(idp: Issuer) -> None:
    """They share one attempt: an issuer that does not answer costs each of them one timeout, not one after another."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silently = settings(idp, jwks_url=f"http://127.0.0.1:{silent.getsockname()[1]}/keys")
        async with open_authenticator(silently, "0.0.0.0") as authenticate:
            started = time.monotonic()
            results = await asyncio.gather(
                *(authenticate.identify(idp.token(f"t{number}")) for number in range(4)), return_exceptions=True
            )
    assert {type(each) for each in results} == {Unavailable}
    assert time.monotonic() - started < 8  # one time-out is 5 s
