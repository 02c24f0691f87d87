"""The command `somabrain-service`: make a database, migrate, serve; and change flags of running services.

Exit codes: 0 success; 1 failure; 2 invalid arguments or settings.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from pydantic import SecretStr

from common.config.settings import LogSettings, Settings, former_names_in_use, load
from common.errors import ConfigurationError, SomaBrainError
from common.log import configure_logging, warn_of_former_names
from common.provisioning import ADMIN_KEYS, parse_admin, parse_provisioned
from somabrain_service.flags import command
from somabrain_service.store.schema import HEAD

if TYPE_CHECKING:
    from somabrain_service.admin.embedded_postgres import EmbeddedDatabase

EXIT_FAILURE, EXIT_INVALID = 1, 2
DEFAULT_DATA_DIR = Path("~/.local/share/somabrain")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    # The first process of a container ignores SIGTERM unless it has a handler; `serve` replaces this one.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        settings = load()
        configure_logging(_log_settings(settings.log, getattr(options, "embedded", False)))
        warn_of_former_names(former_names_in_use())
        _run(options, settings)
    except ConfigurationError as exc:
        return _exit_with(exc.message, EXIT_INVALID)
    except SomaBrainError as exc:
        return _exit_with(exc.message, EXIT_FAILURE)
    except KeyboardInterrupt:
        return 130
    return 0


def _log_settings(log: LogSettings, embedded: bool) -> LogSettings:
    """Return the log settings, with console format for `--embedded` unless a format is set."""
    if embedded and "format" not in log.model_fields_set:
        return log.model_copy(update={"format": "console"})
    return log


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="somabrain-service", description="The memory service of SomaBrain.")
    commands = parser.add_subparsers(dest="command", required=True)
    migrate = commands.add_parser("migrate", help="migrate the database's schema to this version")
    migrate.add_argument(
        "--to",
        type=_schema_version,
        metavar="NUMBER",
        help="target schema version (default: this version's); a lower one than the database's downgrades",
    )
    embedded = argparse.ArgumentParser(add_help=False)
    embedded.add_argument(
        "--embedded",
        action="store_true",
        help="standalone on this machine: embedded PostgreSQL, loopback only, no authentication",
    )
    embedded.add_argument(
        "--data-dir",
        type=Path,
        default=DEFAULT_DATA_DIR,
        help=f"data directory of --embedded (default: {DEFAULT_DATA_DIR})",
    )
    new_epoch_help = "after a restore: invalidate cursors and tokens from before it (docs/backup.md)"
    commands.add_parser("new-epoch", parents=[embedded], help=new_epoch_help)
    serve_help = "serve; not ready until the schema has been migrated"
    commands.add_parser("serve", parents=[embedded], help=serve_help)
    commands.add_parser("start", help="migrate, then serve: the image's default")
    provision_help = "as an administrator of PostgreSQL: make a database with its roles, or correct them"
    provision = commands.add_parser("provision", help=provision_help)
    provision.add_argument("--admin", type=Path, required=True, metavar="DIR", help="files uri, or host, username, ...")
    provision.add_argument("--database", type=Path, required=True, metavar="FILE", help="JSON of database and roles")
    provision.add_argument("--drop", action="store_true", help="drop what was made for it instead")
    command.add_arguments(commands)
    return parser


def _run(options: argparse.Namespace, settings: Settings) -> None:
    if options.command == "flags":
        command.run(options, settings, print)
        return
    if options.command == "provision":
        _provision(options, settings)
        return
    with ExitStack() as stack:
        adapt: Callable[[Settings], Settings] | None = None
        if getattr(options, "embedded", False):
            adapt = partial(_with_embedded_postgres, _start_embedded_postgres(options.data_dir, settings, stack))
            settings = adapt(settings)
        if options.command == "new-epoch":
            from somabrain_service.admin.new_epoch import renew_epochs

            renew_epochs(_owner_dsn(settings), settings.database, _report)
            return
        if options.command in {"migrate", "start"} or getattr(options, "embedded", False):
            _migrate(settings, getattr(options, "to", None))
        if options.command != "migrate":
            from somabrain_service.grpc_server import serve

            asyncio.run(serve(settings, adapt))


def _start_embedded_postgres(directory: Path, settings: Settings, stack: ExitStack) -> EmbeddedDatabase:
    """Start embedded PostgreSQL; `stack` stops it."""
    from somabrain_service.admin.embedded_postgres import embedded_database

    _report(f"starting PostgreSQL in {directory}; the first start takes some seconds")
    # Meanwhile: an error of it is raised by the import that follows.
    Thread(target=import_module, args=("somabrain_service.grpc_server",), daemon=True).start()
    database = stack.enter_context(embedded_database(directory, settings.database))
    _report(
        "disabled in this mode: authentication (all callers are one tenant) and policy; only this machine can connect"
    )
    _report("when it is ready, try: somabrain namespace create notes; somabrain remember notes 'A text.'")
    return database


def _with_embedded_postgres(database: EmbeddedDatabase, settings: Settings) -> Settings:
    """Return the settings for embedded PostgreSQL: loopback, no authentication, no policy engine."""
    return settings.model_copy(
        update={
            "postgres_dsn": SecretStr(database.app_dsn),
            "worker_dsn": SecretStr(database.worker_dsn),
            "owner_dsn": SecretStr(database.owner_dsn),
            "auth": settings.auth.model_copy(update={"mode": "none"}),
            "policy": settings.policy.model_copy(update={"enabled": False}),
            "grpc": settings.grpc.model_copy(update={"host": "127.0.0.1", "shutdown_delay_s": 0.0}),
            "http": settings.http.model_copy(update={"host": "127.0.0.1"}),
        }
    )


def _migrate(settings: Settings, target: int | None) -> None:
    """Migrate the schema, to this image's version or a given one."""
    from somabrain_service.admin.schema_check import current_schema

    if target is None and (current := current_schema(_owner_dsn(settings), settings.database)):
        _report(f"The schema is {current}; nothing to migrate.")
        return
    from somabrain_service.admin.migrate import migrate

    with _termination_message(settings):
        revision = "head" if target is None else f"{target:04}"
        migrate(_owner_dsn(settings), settings.database, _report, revision=revision)


def _provision(options: argparse.Namespace, settings: Settings) -> None:
    """Make the database with its roles, or drop them."""
    from somabrain_service.admin import provision

    with _termination_message(settings):
        try:
            admin = parse_admin({name: _read(options.admin / name) for name in ADMIN_KEYS})
        except ConfigurationError as exc:
            raise ConfigurationError(f"The administrator's Secret {exc.message}.") from None
        try:
            desired = parse_provisioned(_read(options.database))
        except ConfigurationError as exc:
            raise ConfigurationError(f"--database: {options.database} {exc.message}.") from None
        (provision.drop if options.drop else provision.provision)(admin, desired, settings.database, _report)


def _read(file: Path) -> str:
    """Return the content of a file; empty if it does not exist.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{file} cannot be read: {getattr(exc, 'strerror', 'it is not UTF-8')}.") from None


@contextmanager
def _termination_message(settings: Settings) -> Iterator[None]:
    """Write an error also to the termination log, which `kubectl describe` shows."""
    try:
        yield
    except SomaBrainError as exc:
        if settings.termination_log is not None and settings.termination_log.exists():
            settings.termination_log.write_text(exc.message)
        raise


def _owner_dsn(settings: Settings) -> str:
    """Return the owner's DSN.

    Raises:
        ConfigurationError: the DSN is not set.
    """
    if settings.owner_dsn is None:
        raise ConfigurationError("owner_dsn: is required; set SOMABRAIN_OWNER_DSN to a URL of the owner role.")
    return settings.owner_dsn.get_secret_value()


def _schema_version(text: str) -> int:
    """Parse a schema version. A downgrade to an empty database is refused: it would delete every memory."""
    if not text.isdecimal() or not 1 <= int(text) <= HEAD:
        raise argparse.ArgumentTypeError(f"{text!r} is not a schema of this version; valid are 1 to {HEAD}")
    return int(text)


def _report(message: str) -> None:
    print(f"somabrain-service: {message}", file=sys.stderr, flush=True)  # noqa: T201 - progress for a person


def _exit_with(message: str, code: int) -> int:
    _report(message)
    return code


if __name__ == "__main__":
    sys.exit(main())
