"""The one frozen Settings, and the only reader of the environment.

Every field is set by the variable `SOMABRAIN_<FIELD>`, a field of a group by `SOMABRAIN_<GROUP>__<FIELD>`.
Entry points import `settings` and pass down what each part needs; no other module imports it.
A variable with the prefix that names no field is an error, so a typo is never silently ignored. The models of the
groups are in `common.config.groups`, one module per concern.

Secrets need not be variables, which other processes in the container can read: a file named as the variable, in a
directory listed in `SOMABRAIN_SECRETS_DIR`, sets the same field.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from common.config.former_names import FORMER_ENDPOINT_KEYS, FORMER_NAMES, with_present_names
from common.config.groups.auth import AuthSettings, IntrospectionSettings, PolicySettings
from common.config.groups.base import Group
from common.config.groups.database import DatabaseSettings, SearchIndexSettings, WorkersSettings
from common.config.groups.encoders import (
    LEXICAL,
    MINILM,
    ClientEncoder,
    EmbeddingsEndpoint,
    EncoderId,
    EncoderSettings,
    OnnxDirectory,
)
from common.config.groups.mcp import McpSettings, TokenExchangeSettings
from common.config.groups.operator import OperatorSettings
from common.config.groups.platform import CacheSettings, EventsSettings, FlagSettings, QuotaSettings, TraceSettings
from common.config.groups.server import GrpcSettings, HttpSettings, LogSettings, TlsSettings
from common.errors import ConfigurationError

__all__ = [
    "DELIMITER",
    "LEXICAL",
    "MINILM",
    "PREFIX",
    "AuthSettings",
    "CacheSettings",
    "ClientEncoder",
    "DatabaseSettings",
    "EmbeddingsEndpoint",
    "EncoderId",
    "EncoderSettings",
    "EventsSettings",
    "FlagSettings",
    "GrpcSettings",
    "HttpSettings",
    "IntrospectionSettings",
    "InvalidValues",
    "LogSettings",
    "McpSettings",
    "OnnxDirectory",
    "OperatorSettings",
    "PolicySettings",
    "QuotaSettings",
    "SearchIndexSettings",
    "Settings",
    "TlsSettings",
    "TokenExchangeSettings",
    "TraceSettings",
    "WorkersSettings",
    "former_names_in_use",
    "load",
    "load_valid_groups",
    "settings",
    "unknown_variables",
    "variable_names",
]

PREFIX = "SOMABRAIN_"
DELIMITER = "__"


class InvalidValues(ConfigurationError):
    """Values of single settings are invalid; their names, and the places where they are, are right."""


class Settings(BaseSettings):
    """Settings of a process, read once at its start."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    secrets_dir: str = ""
    """Directories whose files are settings, too, each named as its variable; several are separated by colons. Other
    files in them are ignored. Each setting must be given in one place only."""
    postgres_dsn: SecretStr | None = None
    """libpq URL of the app role. Required by the service. A pooler in between must pool sessions, not transactions."""
    worker_dsn: SecretStr | None = None
    """libpq URL of the worker role. None: this process runs no background jobs, such as expiry. A pooler in between
    must pool sessions, not transactions, because background jobs hold session-level advisory locks."""
    owner_dsn: SecretStr | None = None
    """libpq URL of the owner role. Required by migrations only."""
    termination_log: Path | None = Path("/dev/termination-log")
    """File for the error of a failed migration, which `kubectl describe` shows. Written only if it exists; None: not
    written."""

    log: LogSettings = LogSettings()
    grpc: GrpcSettings = GrpcSettings()
    http: HttpSettings = HttpSettings()
    database: DatabaseSettings = DatabaseSettings()
    workers: WorkersSettings = WorkersSettings()
    search_index: SearchIndexSettings = SearchIndexSettings()
    events: EventsSettings = EventsSettings()
    auth: AuthSettings = AuthSettings()
    policy: PolicySettings = PolicySettings()
    encoder: EncoderSettings = EncoderSettings()
    cache: CacheSettings = CacheSettings()
    flags: FlagSettings = FlagSettings()
    quota: QuotaSettings = QuotaSettings()
    trace: TraceSettings = TraceSettings()
    mcp: McpSettings = McpSettings()
    operator: OperatorSettings = OperatorSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return variables and files, groups included, under present names; no file of variables is ever read."""
        files = NestedSecretsSettingsSource(file_secret_settings)
        former = {before.lower(): now.lower() for before, now in FORMER_NAMES.items()}
        for source in (env_settings, files):
            if isinstance(source, EnvSettingsSource):
                source.env_vars = with_present_names(source.env_vars, former)
        return init_settings, env_settings, files

    @model_validator(mode="after")
    def _check_policy_off_needs_auth_off(self) -> Settings:
        if not self.policy.enabled and self.auth.mode != "none":
            raise ValueError("policy.enabled: may be false only with auth.mode=none; leave it true")
        return self


def variable_names() -> list[str]:
    """Return every variable that sets a field."""
    return list(_variable_names(Settings, PREFIX))


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Return the variables with our prefix that name no field, each with the nearest name that does."""
    valid = {**{name: name for name in variable_names()}, **FORMER_NAMES}
    unknown = sorted(name for name in names if name.upper().startswith(PREFIX) and name.upper() not in valid)
    return [
        f"{name} (did you mean {valid[close_matches[0]]}?)"
        if (close_matches := difflib.get_close_matches(name.upper(), valid, 1))
        else name
        for name in unknown
    ]


def _variable_names(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Group):
            yield from _variable_names(annotation, f"{prefix}{name}{DELIMITER}")
        else:
            yield f"{prefix}{name}".upper()


def load() -> Settings:
    """Return the settings from the environment, and from the directories that `SOMABRAIN_SECRETS_DIR` lists.

    Raises:
        ConfigurationError: a value is out of its bounds, or a variable or file is unknown, given twice or cannot be
            read; the message names it, and never contains its value.
    """
    sources = _sources()
    if unknown := unknown_variables(name for names in sources.values() for name in names):
        raise ConfigurationError(f"Unknown setting: {', '.join(unknown)}. Remove or correct it.")
    if duplicates := _duplicates(sources):
        raise ConfigurationError(f"A setting is given twice: {'; '.join(duplicates)}. Keep one.")
    try:
        return Settings(_secrets_dir=_secrets_folders())
    except ValidationError as exc:
        raise InvalidValues(f"The settings are invalid. {' '.join(map(_describe, exc.errors()))}") from None
    except SettingsError as exc:
        # Its message names the group only. The only cause is a list that is not written as JSON.
        raise InvalidValues(f'The settings are invalid: {exc}; write lists as JSON, such as ["a", "b"].') from None
    except UnicodeDecodeError:
        raise ConfigurationError("A file in secrets_dir is not UTF-8 text; keep other files elsewhere.") from None


def load_valid_groups(former: Settings) -> Settings:
    """Return the settings as they are now, except that groups which are invalid now are as in `former`.

    Raises:
        ConfigurationError: more than single groups is wrong.
    """
    folders, names = _secrets_folders(), tuple(Settings.model_fields)
    kept: dict[str, Any] = {}
    for name in names:
        others = {other: getattr(former, other) for other in names if other != name}
        try:
            Settings(_secrets_dir=folders, **others)
        except (ValidationError, SettingsError):
            kept[name] = getattr(former, name)
    try:
        return Settings(_secrets_dir=folders, **kept)
    except (ValidationError, SettingsError, UnicodeDecodeError):
        raise ConfigurationError("The settings are invalid together.") from None


def former_names_in_use() -> list[tuple[str, str]]:
    """Return the settings that are given under a former name, each with its present one, for the log of the process."""
    given = {name.upper() for names in _sources().values() for name in names}
    endpoints = _value(f"{PREFIX}ENCODER{DELIMITER}ENDPOINTS")
    return [
        *((former, present) for former, present in FORMER_NAMES.items() if former in given),
        *((former, present) for former, present in FORMER_ENDPOINT_KEYS.items() if f'"{former}"' in endpoints),
    ]


def _secrets_folders() -> list[Path]:
    return [Path(path) for path in os.environ.get(f"{PREFIX}SECRETS_DIR", "").split(":") if path]


def _sources() -> dict[str, list[str]]:
    """Return the names that each source of settings has: the environment, and each folder of files."""
    return {"the environment": list(os.environ), **{str(each): _file_names(each) for each in _secrets_folders()}}


def _value(variable: str) -> str:
    """Return the raw value of a setting in the environment or in a file; empty: it is not set."""
    files = [folder / name for folder in _secrets_folders() for name in _file_names(folder) if name.upper() == variable]
    given = [value for name, value in os.environ.items() if name.upper() == variable]
    return "".join([*given, *(file.read_text() for file in files)])


def _file_names(folder: Path) -> list[str]:
    """Return the names of a directory's files."""
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError as exc:
        raise ConfigurationError(
            f"{PREFIX}SECRETS_DIR: {folder} cannot be read ({exc.strerror}); mount it, or correct the path."
        ) from None


def _duplicates(sources: Mapping[str, list[str]]) -> list[str]:
    """Return each setting that is given more than once, and where; its former name counts as its present one."""
    places: dict[str, list[str]] = {}
    for source, names in sources.items():
        for name in sorted({each.upper() for each in names if each.upper().startswith(PREFIX)}):
            present = FORMER_NAMES.get(name, name)
            former = f" by its former name {name}" if name != present else ""
            places.setdefault(present, []).append(f"in {source}{former}")
    return [f"{name} {' and '.join(each)}" for name, each in sorted(places.items()) if len(each) > 1]


def _describe(error: ErrorDetails) -> str:
    """Return what is invalid about a setting: the variable that sets it and its bound, never the value."""
    name = DELIMITER.join(str(part) for part in error["loc"]).upper()
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    return f"{PREFIX}{name}: {message}." if name else f"{message}."


settings: Settings


def __getattr__(name: str) -> Settings:
    """Load `settings` on first use, so that importing this module reads nothing."""
    if name != "settings":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["settings"] = loaded = load()
    return loaded
