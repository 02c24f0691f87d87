"""What is wrong with a setting is said by the variable that sets it, in a line, without its value."""

from __future__ import annotations

import pytest

from common.config.settings import load
from common.errors import ConfigurationError


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SOMABRAIN_GRPC__PORT", "sesame", "SOMABRAIN_GRPC__PORT: must be a valid integer"),
        ("SOMABRAIN_GRPC__PORT", "99999", "SOMABRAIN_GRPC__PORT: must be less than or equal to 65535"),
        ("SOMABRAIN_GRPC__DRAIN_S", "nan", "SOMABRAIN_GRPC__DRAIN_S: must be"),
        ("SOMABRAIN_AUTH__MODE", "sesame", "SOMABRAIN_AUTH__MODE: must be 'jwt', 'introspection' or 'none'"),
        ("SOMABRAIN_OPERATOR__NAMESPACES", "sesame,b", 'write lists as JSON, such as ["a", "b"]'),
        ("SOMABRAIN_POLICY__ENABLED", "false", "policy.enabled: may be false only with auth.mode=none"),
        ("SOMABRAIN_ENCODER__KIND", "sesame", "kind: must be one of lexical, minilm-l6-v2-int8"),
        ("SOMABRAIN_ENCODER__CLIENT", '[{"id": "sesame!", "dimensions": 3}]', "CLIENT__0__ID: String should match"),
        ("SOMABRAIN_ENCODER__CLIENT", '[{"id": "lexical", "dimensions": 3}]', "has the id 'lexical' twice"),
        ("SOMABRAIN_ENCODER__ENDPOINTS", '[{"id": "a", "api_key": "sesame"}]', "ENDPOINTS__0__URL: Field required"),
        ("SOMABRAIN_ENCODER__ENDPOINTS", '{"api_key": "sesame"', 'field "encoder"'),
        ("SOMABRAIN_POSTGRES_DNS", "sesame", "SOMABRAIN_POSTGRES_DNS (did you mean SOMABRAIN_POSTGRES_DSN?)"),
        ("SOMABRAIN_GRPC__TLS__CERT", "sesame", "did you mean SOMABRAIN_GRPC__TLS__CERT_FILE?"),
        ("SOMABRAIN_GRPC__TLS", "sesame", "No such setting: SOMABRAIN_GRPC__TLS"),
        ("SOMABRAIN_GRPC__TLS__CERT_FILE", "sesame", "SOMABRAIN_GRPC__TLS: cert_file and key_file are given together"),
        ("SOMABRAIN_GRPC__TLS__CLIENT_CA_FILE", "sesame", "client_ca_file needs cert_file and key_file; give them"),
        (
            "SOMABRAIN_AUTH__INTROSPECTION__ADDRESS",
            "sesame",
            "INTROSPECTION__ADDRESS: String should match",
        ),
        (
            "SOMABRAIN_AUTH__INTROSPECTION__SECRET",
            "sesame",
            "SOMABRAIN_AUTH__INTROSPECTION__CLIENT_SECRET?",
        ),
        ("SOMABRAIN_LOG", "sesame", "No such setting: SOMABRAIN_LOG"),
        ("somabrain_grpc__prot", "sesame", "somabrain_grpc__prot (did you mean SOMABRAIN_GRPC__PORT?)"),
    ],
)
def test_a_wrong_value(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert said in caught.value.message
    assert "sesame" not in caught.value.message
    assert "\n" not in caught.value.message


def test_each_wrong_value_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMABRAIN_GRPC__PORT", "-1")
    monkeypatch.setenv("SOMABRAIN_LOG__LEVEL", "loud")
    with pytest.raises(ConfigurationError, match=r"SOMABRAIN_LOG__LEVEL: .* SOMABRAIN_GRPC__PORT: "):
        load()


def test_encoders_are_lists_of_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMABRAIN_ENCODER__KIND", "nomic")
    monkeypatch.setenv(
        "SOMABRAIN_ENCODER__ENDPOINTS",
        '[{"id": "nomic", "url": "http://e/v1/embeddings", "model": "m", "dimensions": 768, "api_key": "sesame"}]',
    )
    encoder = load().encoder
    assert (encoder.endpoints[0].dimensions, encoder.offers_minilm) == (768, False)
    assert "sesame" not in repr(encoder)


def test_groups_and_letters_of_either_case_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMABRAIN_OPERATOR__NAMESPACES", '["a", "b"]')
    monkeypatch.setenv("somabrain_grpc__port", "1")
    loaded = load()
    assert (loaded.operator.namespaces, loaded.grpc.port) == (("a", "b"), 1)
