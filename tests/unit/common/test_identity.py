"""JWKS keys, hosts and modes, as far as they can be tested without an issuer."""

from __future__ import annotations

import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from common.auth.jwks import parse_keys
from common.config.settings import AuthSettings
from common.errors import ConfigurationError
from common.utils.auth_client import is_loopback, open_authenticator

RSA_KEY = rsa.generate_private_key(65537, 2048)
RSA = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key()))
RSA_PRIVATE = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY))
EC = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()))


def test_jwk_algorithms_follow_key_type() -> None:
    keys = parse_keys({"keys": [{**RSA, "kid": "r"}, {**EC, "kid": "e"}, {**RSA, "kid": "one", "alg": "RS256"}]})
    assert keys["r"].algorithms == ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
    assert keys["e"].algorithms == ("ES256", "ES384", "ES512")
    assert keys["one"].algorithms == ("RS256",)


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "x"},
        {**RSA, "kid": "x", "alg": "HS256"},
        {**RSA, "kid": "x", "use": "enc"},
        {"kty": "RSA", "kid": "x", "n": "???"},
        {"kty": "new", "kid": "x"},
        {**RSA, "kid": ["x"]},
        {**RSA, "kid": {}},
        {**RSA, "kid": 7},
        {**RSA, "kid": "x", "alg": ["RS256"]},
        {**RSA, "kid": "x", "kty": ["RSA"]},
        {**RSA, "kid": "x", "n": 7},
        {**EC, "kid": "x", "crv": ["P-256"]},
        {**RSA_PRIVATE, "kid": "x"},
        "x",
        ["kty"],
        None,
    ],
)
def test_unsupported_and_malformed_jwks_are_ignored(entry: object) -> None:
    assert list(parse_keys({"keys": [entry, {**RSA, "kid": "good"}]})) == ["good"]


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}])
def test_invalid_key_set_has_no_keys(document: object) -> None:
    assert parse_keys(document) == {}


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


async def test_anonymous_mode_requires_loopback_host() -> None:
    auth = AuthSettings(mode="none", anonymous_tenant="laptop")
    with pytest.raises(ConfigurationError, match=r"grpc\.host is 0\.0\.0\.0; set grpc\.host to 127\.0\.0\.1"):
        async with open_authenticator(auth, "0.0.0.0"):
            pass
    async with open_authenticator(auth, "127.0.0.1") as anyone:
        assert (await anyone.identify(None)).tenant == "laptop"
