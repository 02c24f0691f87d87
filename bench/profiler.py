"""Processor time of calls by part: the running service sampled by py-spy, each stack classified by module."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

RATE_HZ = 250

# The innermost frame that matches classifies a sample.
PARTS: Sequence[tuple[str, str]] = (
    ("store/search_index/", "searching in memory"),
    ("domain/ranking/", "scoring"),
    ("encoders/", "encoding"),
    ("psycopg/", "psycopg"),
    ("store/postgres/", "the store's own code"),
    ("servicers/", "from and to protobuf"),
    ("interceptors/", "interceptors"),
    ("commands/", "commands"),
    ("domain/", "other mathematics and values"),
    ("asyncio/", "the event loop, with gRPC inside"),
    ("grpc/", "gRPC"),
)


@contextmanager
def profiled(process: int, shares: Counter[str]) -> Iterator[None]:
    """Sample the busy threads of a process during the block, and add the samples of each part to `shares`."""
    with tempfile.TemporaryDirectory() as folder:
        stacks = Path(folder) / "stacks"
        spy = Path(sys.executable).with_name("py-spy")
        arguments = ["record", "--pid", str(process), "--rate", str(RATE_HZ), "--format", "raw", "--nonblocking"]
        sampler = subprocess.Popen(
            [spy, *arguments, "--full-filenames", "--output", stacks], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            yield
        finally:
            sampler.send_signal(2)
            _, stderr = sampler.communicate(timeout=60)
        if not stacks.exists():
            sys.exit(f"py-spy did not write its stacks: {stderr.decode()}")
        for line in stacks.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            shares[_part(stack.split(";"))] += int(count)


def _part(frames: Sequence[str]) -> str:
    for frame in reversed(frames):
        for path, part in PARTS:
            if path in frame:
                return part
    return "everything else"
