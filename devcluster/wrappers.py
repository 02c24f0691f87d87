"""Small scripts that start what was unpacked beside them, on this machine and in an image alike."""

from __future__ import annotations

from pathlib import Path

HEAD = '#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\n'
NATIVE = 'LD_LIBRARY_PATH=$(echo "$here"/usr/lib/*-linux-gnu) exec "$here/programs/%s" "$@"\n'
SCRIPT = 'exec "$here/%s" "$@"\n'
# The variables are those of Kafka's own scripts. Small and quick to start: these servers serve tests.
JAVA = """exec java ${KAFKA_HEAP_OPTS:--Xms64m -Xmx384m} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \\
  -Dlog4j2.level=WARN ${KAFKA_OPTS:-} -cp "$here/libs/*" %s "$@"
"""


def native(folder: Path, name: str, file: str) -> None:
    """Make `folder/name` start the program `file` with the libraries unpacked beside it, called by its own name."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    (programs / name).symlink_to(Path("..") / file)
    _write(folder / name, NATIVE % name)


def java(folder: Path, name: str, main: str) -> None:
    """Make `folder/name` run the class `main` of the jars in `folder/libs`, by the java in PATH."""
    _write(folder / name, JAVA % main)


def script(folder: Path, name: str, file: str) -> None:
    """Make `folder/name` start `file`, which finds its own files by where it is."""
    _write(folder / name, SCRIPT % file)


def _write(path: Path, body: str) -> None:
    path.write_text(HEAD + body)
    path.chmod(0o755)
