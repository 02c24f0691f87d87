"""An invalid setting is reported by its variable's name, on one line, without its value."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.config.former_names import FORMER_ENDPOINT_KEYS, FORMER_NAMES
from common.config.settings import Settings, former_names_in_use, load, variable_names
from common.errors import ConfigurationError

ENDPOINT = '{"id": "a", "url": "http://e/v1/embeddings", "model": "m", "dimensions": 3}'


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
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
        ("SOMABRAIN_GRPC__TLS", "sesame", "Unknown setting: SOMABRAIN_GRPC__TLS"),
        ("SOMABRAIN_GRPC__TLS__CERT_FILE", "sesame", "GRPC__TLS: cert_file and key_file must be set together"),
        ("SOMABRAIN_GRPC__TLS__CLIENT_CA_FILE", "sesame", "client_ca_file requires cert_file and key_file; set them"),
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
        ("SOMABRAIN_TRACE__HEADERS", "sesame", "TRACE: headers: must be name=value"),
        ("SOMABRAIN_TRACE__HEADERS", "a=b,sesame oil=c", "TRACE: headers: must be name=value"),
        ("SOMABRAIN_TRACE__HEADERS", "a=sesame%0Aoil", "TRACE: headers: must be name=value"),
        ("SOMABRAIN_LOG", "sesame", "Unknown setting: SOMABRAIN_LOG"),
        ("somabrain_grpc__prot", "sesame", "somabrain_grpc__prot (did you mean SOMABRAIN_GRPC__PORT?)"),
    ],
)
def test_invalid_value_error_names_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert expected in caught.value.message
    assert "sesame" not in caught.value.message
    assert "\n" not in caught.value.message


def test_error_lists_every_invalid_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMABRAIN_GRPC__PORT", "-1")
    monkeypatch.setenv("SOMABRAIN_LOG__LEVEL", "loud")
    with pytest.raises(ConfigurationError, match=r"SOMABRAIN_LOG__LEVEL: .* SOMABRAIN_GRPC__PORT: "):
        load()


def test_encoder_endpoints_are_parsed_from_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMABRAIN_ENCODER__KIND", "nomic")
    monkeypatch.setenv(
        "SOMABRAIN_ENCODER__ENDPOINTS",
        '[{"id": "nomic", "url": "http://e/v1/embeddings", "model": "m", "dimensions": 768, "api_key": "sesame"}]',
    )
    encoder = load().encoder
    assert (encoder.endpoints[0].dimensions, encoder.offers_minilm) == (768, False)
    assert "sesame" not in repr(encoder)


def test_nested_and_lowercase_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMABRAIN_OPERATOR__NAMESPACES", '["a", "b"]')
    monkeypatch.setenv("somabrain_grpc__port", "1")
    loaded = load()
    assert (loaded.operator.namespaces, loaded.grpc.port) == (("a", "b"), 1)


def folder(path: Path, **files: str) -> Path:
    """Make a folder as the kubelet mounts a Secret: files are links into a hidden folder."""
    hidden = path / "..2026_01_02"
    hidden.mkdir(parents=True)
    (path / "..data").symlink_to(hidden.name)
    for name, content in files.items():
        (hidden / name).write_text(content)
        (path / name).symlink_to(f"..data/{name}")
    return path


def test_secret_files_set_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Files in several folders set nested settings, too; the final newline is dropped, other files are ignored."""
    first = folder(tmp_path / "a", SOMABRAIN_POSTGRES_DSN="postgresql://sesame\n", SOMABRAIN_AUTH__AUDIENCE="brains")
    second = folder(tmp_path / "b", SOMABRAIN_OPERATOR__NAMESPACES='["a"]')
    (second / "ca.crt").write_text("-----BEGIN CERTIFICATE-----")
    monkeypatch.setenv("SOMABRAIN_SECRETS_DIR", f"{first}:{second}")
    monkeypatch.setenv("SOMABRAIN_LOG__LEVEL", "debug")
    loaded = load()
    assert loaded.postgres_dsn is not None
    assert loaded.postgres_dsn.get_secret_value() == "postgresql://sesame"
    assert (loaded.auth.audience, loaded.operator.namespaces, loaded.log.level) == ("brains", ("a",), "debug")
    assert "sesame" not in repr(loaded)


@pytest.mark.parametrize(
    ("files", "variables", "expected"),
    [
        ({"SOMABRAIN_POSTGRES_DNS": "sesame"}, {}, "SOMABRAIN_POSTGRES_DNS (did you mean SOMABRAIN_POSTGRES_DSN?)"),
        ({"SOMABRAIN_GRPC__PORT": "sesame"}, {}, "SOMABRAIN_GRPC__PORT: must be a valid integer"),
        (
            {"SOMABRAIN_OWNER_DSN": "sesame"},
            {"SOMABRAIN_OWNER_DSN": "sesame"},
            "given twice: SOMABRAIN_OWNER_DSN in the environment and in ",
        ),
    ],
)
def test_invalid_secret_file_error_names_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], variables: dict[str, str], expected: str
) -> None:
    """An invalid file is named as a variable would be, and its content is not shown."""
    monkeypatch.setenv("SOMABRAIN_SECRETS_DIR", str(folder(tmp_path / "a", **files)))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert expected in caught.value.message
    assert "sesame" not in caught.value.message


def test_missing_secrets_dir_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A settings folder that does not exist is an error: it may be a forgotten mount."""
    monkeypatch.setenv("SOMABRAIN_SECRETS_DIR", "/nowhere")
    with pytest.raises(ConfigurationError, match=r"SECRETS_DIR: /nowhere cannot be read .*mount it"):
        load()


def test_binary_secret_file_is_rejected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that is not text is refused with a message."""
    (folder(tmp_path / "a") / "model.onnx").write_bytes(b"\xff\xfe\x00")
    monkeypatch.setenv("SOMABRAIN_SECRETS_DIR", str(tmp_path / "a"))
    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        load()


@pytest.mark.parametrize(("former", "present"), FORMER_NAMES.items())
def test_setting_is_read_under_former_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, former: str, present: str
) -> None:
    """A setting's former name works as a variable and as a file, and is reported as in use."""
    value = "7" if "TENANT" not in former else "seven"

    def loaded(name: str, *, file: bool) -> Settings:
        with monkeypatch.context() as patch:
            if file:
                patch.setenv("SOMABRAIN_SECRETS_DIR", str(folder(tmp_path / name, **{name: value})))
                assert former_names_in_use() == ([(former, present)] if name == former else [])
                return load().model_copy(update={"secrets_dir": ""})
            patch.setenv(name, value)
            assert former_names_in_use() == ([(former, present)] if name == former else [])
            return load()

    default, expected = load(), loaded(present, file=False)
    assert expected != default
    assert loaded(former, file=False) == expected
    assert loaded(former, file=True) == expected
    assert loaded(present, file=True) == expected


def test_setting_under_both_names_is_rejected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Setting both names is an error wherever they are set; so it is for the keys of an encoder's endpoint."""
    monkeypatch.setenv("SOMABRAIN_SEARCH_INDEX__BUDGET_BYTES", "0")
    with monkeypatch.context() as patch:
        patch.setenv("SOMABRAIN_REPLICA__BUDGET_BYTES", "0")
        with pytest.raises(ConfigurationError, match="by its former name SOMABRAIN_REPLICA__BUDGET_BYTES"):
            load()
    with monkeypatch.context() as patch:
        patch.setenv("SOMABRAIN_SECRETS_DIR", str(folder(tmp_path / "a", SOMABRAIN_REPLICA__BUDGET_BYTES="0")))
        with pytest.raises(ConfigurationError, match="given twice: SOMABRAIN_SEARCH_INDEX__BUDGET_BYTES"):
            load()
    both = ENDPOINT.replace("}", ', "characters": 5, "max_input_characters": 6}')
    monkeypatch.setenv("SOMABRAIN_ENCODER__ENDPOINTS", f"[{both}]")
    with pytest.raises(ConfigurationError, match="characters is the former name of max_input_characters"):
        load()


def test_endpoint_is_read_with_former_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys that the operator of 0.1 renders are accepted."""
    former = ENDPOINT.replace("}", ', "characters": 5, "breaker_rest_s": 6}')
    monkeypatch.setenv("SOMABRAIN_ENCODER__ENDPOINTS", f"[{former}]")
    (endpoint,) = load().encoder.endpoints
    assert (endpoint.max_input_characters, endpoint.breaker_reset_s) == (5, 6)
    assert former_names_in_use() == list(FORMER_ENDPOINT_KEYS.items())


def test_former_names_map_to_current_settings() -> None:
    """Each former name maps to a setting that exists, and no former name is a present one."""
    assert set(FORMER_NAMES.values()) <= set(variable_names())
    assert not set(FORMER_NAMES) & set(variable_names())
