"""Entry point `somabrain-operator`: run kopf with `somabrain_operator.main` in the configured namespaces."""

from __future__ import annotations

import sys

import kopf.cli

from common.config.settings import load
from common.errors import ConfigurationError
from somabrain_operator.app import watch_sessions


def main() -> None:
    """Run the operator until it receives a stop signal."""
    try:
        namespaces = watch_sessions(load().operator).namespaces
    except ConfigurationError as exc:
        sys.exit(f"somabrain-operator: {exc.message}")
    namespace_options = [part for name in namespaces for part in ("--namespace", name)] or ["--all-namespaces"]
    kopf.cli.main(["run", "--standalone", *namespace_options, "-m", "somabrain_operator.main"], prog_name="kopf")


if __name__ == "__main__":
    main()
