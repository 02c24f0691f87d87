"""What is wrong with a setting is said by the variable that sets it, in a line, without its value."""

from __future__ import annotations

from pathlib import Path

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


def folder(path: Path, **files: str) -> Path:
    """Make a folder as the kubelet mounts a Secret: files are links into a hidden folder."""
    hidden = path / "..2026_01_02"
    hidden.mkdir(parents=True)
    (path / "..data").symlink_to(hidden.name)
    for name, content in files.items():
        (hidden / name).write_text(content)
        (path / name).symlink_to(f"..data/{name}")
    return path


def test_files_are_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of groups too, from several folders, without the line's end; what is no setting is not looked at."""
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
    ("files", "variables", "said"),
    [
        ({"SOMABRAIN_POSTGRES_DNS": "sesame"}, {}, "SOMABRAIN_POSTGRES_DNS (did you mean SOMABRAIN_POSTGRES_DSN?)"),
        ({"SOMABRAIN_GRPC__PORT": "sesame"}, {}, "SOMABRAIN_GRPC__PORT: must be a valid integer"),
        (
            {"SOMABRAIN_OWNER_DSN": "sesame"},
            {"SOMABRAIN_OWNER_DSN": "sesame"},
            "given twice: SOMABRAIN_OWNER_DSN in the environment and ",
        ),
    ],
)
def test_a_wrong_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], variables: dict[str, str], said: str
) -> None:
    """It is named as a variable would be, and its content is not shown."""
    monkeypatch.setenv("SOMABRAIN_SECRETS_DIR", str(folder(tmp_path / "a", **files)))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert said in caught.value.message
    assert "sesame" not in caught.value.message


def test_a_folder_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount that was forgotten is no empty one."""
    monkeypatch.setenv("SOMABRAIN_SECRETS_DIR", "/nowhere")
    with pytest.raises(ConfigurationError, match=r"SECRETS_DIR: /nowhere cannot be read .*mount it"):
        load()


def test_a_binary_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Is refused in words."""
    (folder(tmp_path / "a") / "model.onnx").write_bytes(b"\xff\xfe\x00")
    monkeypatch.setenv("SOMABRAIN_SECRETS_DIR", str(tmp_path / "a"))
    with pytest.raises(ConfigurationError, match="is no UTF-8 text"):
        load()
