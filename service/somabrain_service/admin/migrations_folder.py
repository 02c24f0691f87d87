"""Place of the migrations, found without the libraries that run them, which take a second to import."""

from __future__ import annotations

from pathlib import Path

from common.errors import ConfigurationError


def migrations_folder() -> Path:
    """Return the directory of the migrations: in `somabrain_service` in the wheel, at the root of a checkout.

    Raises:
        ConfigurationError: neither exists.
    """
    package_dir = Path(__file__).resolve().parents[1]
    for folder in (package_dir / "migrations", package_dir.parents[1] / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise ConfigurationError("This installation contains no migrations; install the wheel or run from a checkout.")
