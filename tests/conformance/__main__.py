"""Run the store's tests against the PostgreSQL of three DSNs, and say in words whether SomaBrain works with it.

    make conformance OWNER_DSN=… APP_DSN=… WORKER_DSN=…

The database must be empty; what was made in it is taken away at the end. An engine that must be told more than the
migration says, such as which tables to distribute, is told so by OPTIONS="--after-migration FILE". Exit status: 0 if
all tests passed, 1 if some failed, 2 if the database was refused.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from tests.conformance.plugin import ConformancePlugin
from tests.conformance.target import Refused, inspect

STORE_TESTS = "tests/integration/store"


def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="make conformance")
    for role in ("owner", "app", "worker"):
        parser.add_argument(f"--{role}-dsn", default="", metavar="DSN", help=f"DSN of the {role} role")
    parser.add_argument("--select", default="", metavar="EXPRESSION", help="only the tests that pytest's -k selects")
    parser.add_argument(
        "--after-migration", type=Path, metavar="FILE", help="SQL that the owner runs after the migration"
    )
    options = parser.parse_args(arguments)
    if options.after_migration and not options.after_migration.is_file():
        parser.error(f"--after-migration: {options.after_migration} is not a file")
    try:
        target = inspect(options.owner_dsn, options.app_dsn, options.worker_dsn)
    except Refused as exc:
        for problem in exc.problems:
            print(f"conformance: {problem}", file=sys.stderr)
        return 2
    print(f"conformance: {target.version}, database {target.name}; its tables will be made, and taken away at the end.")
    plugin = ConformancePlugin(target)
    selection = ["-k", options.select] if options.select else []
    try:
        target.prepare(options.after_migration)
        status = pytest.main([STORE_TESTS, "-q", "-p", "no:xdist", "-p", "no:cacheprovider", *selection], [plugin])
    finally:
        target.remove()
    print("\nNot run, because they need a server of their own:", *plugin.left_out, sep="\n  ")
    passed, failed = plugin.outcomes["passed"], plugin.outcomes["failed"]
    if status == pytest.ExitCode.OK and passed:
        print(f"\nconformance: all {passed} tests passed: SomaBrain works with {target.version}.")
        return 0
    print(f"\nconformance: {passed} tests passed and {failed} failed with {target.version}; the failures are above.")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
