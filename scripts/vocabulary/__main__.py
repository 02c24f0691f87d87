"""`python -m vocabulary check` holds the code to docs/glossary.md; `count` prints figures to compare."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vocabulary.count import report

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(prog="python -m vocabulary", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="fail on words that docs/glossary.md keeps out of names and texts")
    count = commands.add_parser("count", help="count words of names, first words of docstrings, imports and floors")
    count.add_argument("--root", type=Path, default=ROOT, help="the checkout to count (default: this one)")
    count.add_argument("--word", action="append", default=[], help="count this word of names; may be repeated")
    arguments = parser.parse_args()
    if arguments.command == "count":
        print("\n".join(report(arguments.root, tuple(arguments.word))))
        return 0
    from vocabulary.rules import check

    breaches = list(check(ROOT))
    print("\n".join(breaches) or "glossary: every name and text keeps to it")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
