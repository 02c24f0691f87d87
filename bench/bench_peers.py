"""The product beside chroma and mem0 with pgvector, on the same texts and vectors in one run, in turns.

    make bench-peers
    make bench-peers OPTIONS="--memories 1000 --seconds 2 --rounds 1"

Each system is driven by its own Python client; eight clients are eight processes for every system. Beside them runs a
grpc.aio handler that does nothing. Absolute figures depend on the machine and its load; compare the ratios.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.peers import durability, environment, preparation
from bench.peers.client import System
from bench.peers.limits import LIMITS
from bench.peers.measurement import NEAREST_QUESTIONS, Places, Report, Shape, measure
from bench.peers.table import significant, table
from common.errors import SomaBrainError
from devcluster.environment import local_paths
from devcluster.errors import LocalError
from devcluster.progress import Progress

FEWEST: Final = 100
"""Memories below which ten results say nothing."""


def main() -> int:
    """Install the other systems, measure all, and print the table; return the exit status."""
    parser = _parser()
    options = parser.parse_args()
    if options.memories < FEWEST or options.sessions < 0 or options.seconds <= 0 or options.rounds < 1:
        parser.error(f"at least {FEWEST} memories, 0 memories of a session, some time and one round are needed")
    # A terminated command must stop its servers, as an interrupted one does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    try:
        print(_run(options))
    except (LocalError, SomaBrainError) as error:
        print(f"bench-peers: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _run(options: argparse.Namespace) -> str:
    paths = local_paths()
    progress = Progress(paths.cache / "durations.json")
    shape = Shape(
        options.memories, max(options.memories // 10, FEWEST), options.sessions, options.seconds, options.rounds
    )
    with progress.heartbeat(), tempfile.TemporaryDirectory(prefix="somabrain-peers-") as temporary:
        peers = environment.install(paths, progress)
        root, own = Path(temporary), Path(sys.executable).parent
        root.chmod(0o755)  # as root, PostgreSQL runs as a separate user, which must reach its data
        folders = {system: root / "servers" / system for system in System}
        for folder in (root / "data", root / "clients", *folders.values()):
            folder.mkdir(parents=True)
        programs = {system: peers if system in (System.CHROMA, System.MEM0) else own for system in System}
        with progress.step(f"Draw {shape.memories:,} memories, and encode them"):
            preparation.prepare(shape.memories).write(root / "data")
        report = measure(shape, Places(root / "data", root / "clients", folders, programs, peers), progress)
        report.durability[System.CHROMA] = durability.of_chroma(folders[System.CHROMA] / "data")
    return _text(report, shape)


def _text(report: Report, shape: Shape) -> str:
    titles = report.versions
    sessions = f"sessions of {shape.per_session}" if shape.per_session else "no sessions"
    measured = f"{shape.memories:,} memories, {sessions}; {shape.rounds} rounds of {shape.seconds:g} s, in turns."
    return "\n".join(
        [
            f"{measured} Figures are medians, a ratio is the median of the rounds' ratios.",
            "",
            table(report.rows, {str(system): title for system, title in titles.items()}, System.PRODUCT),
            "",
            "On disk before an addition is answered:",
            *(f"- {titles[system]}: {text}." for system, text in report.durability.items()),
            "",
            "What each does not do:",
            *(f"- {titles[system]}: {text}." for system, text in LIMITS.items()),
            "",
            f"Of the ten nearest vectors among {shape.memories:,}, over {NEAREST_QUESTIONS} questions:",
            *(f"- {titles[system]}: {_nearest(reply)}." for system, reply in report.nearest.items()),
            f"mem0's vector index answered {report.vector_index_scans} of its searches; the others read every vector.",
        ]
    )


def _nearest(reply: Mapping[str, object]) -> str:
    match reply:
        case {"share": float(share), "results": float(results)}:
            return f"{share:.0%} are among {significant(results)} results"
    raise ValueError(f"a reply has no share: {reply}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--memories", type=int, default=10_000, help="number of searched memories (default: 10000)")
    parser.add_argument("--sessions", type=int, default=20, help="memories of a session; 0: no sessions (default: 20)")
    parser.add_argument("--seconds", type=float, default=4.0, help="time of one system in a round (default: 4)")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: 3)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
