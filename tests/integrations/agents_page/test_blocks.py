"""The blocks of docs/agents.md work as they stand, in their order, in an empty home; only the port is another."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "agents.md"
ADDRESS = "localhost:50052"
BLOCK_S = 600
EXPECTED = {
    "somabrain/bin/somabrain recall": "Ada prefers green tea in the morning.",
    "tea.py": "The meeting with Bob moved to Friday.\nAda, engineer, Bern\n",
    "remember_in_langgraph.py": "I will remember that.\nYou told me: I take my tea without sugar.\n",
    "remember_in_adk.py": "My cat is called Ramses.\n",
}
"""What the page promises that a command prints at its end, by a part of the command."""


def blocks() -> list[tuple[str, str]]:
    """The language and text of each block."""
    return re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """An empty home; the caches of pip and cargo are those of the user, or each run would fetch and build all again."""
    cache, home = Path.home() / ".cache", tempfile.mkdtemp(prefix="somabrain-home-")
    Path(home).chmod(0o755)
    try:
        yield {
            "HOME": home,
            "PATH": f"{Path.home() / '.cargo' / 'bin'}:{os.defpath}:{Path(shutil.which('python3') or '/usr/bin/x').parent}",
            "PIP_CACHE_DIR": str(cache / "pip"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "CARGO_HOME": os.environ.get("CARGO_HOME", str(Path.home() / ".cargo")),
            "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(Path.home() / ".rustup")),
            "CARGO_TARGET_DIR": str(cache / "somabrain" / "kernel" / "target"),
            "SOMABRAIN_GRPC__PORT": str(free_port()),
            "SOMABRAIN_HTTP__PORT": str(free_port()),
            **{
                name: value
                for name, value in os.environ.items()
                if name.lower().startswith(("pip_index", "ssl_", "http"))
            },
            **{name: value for name, value in os.environ.items() if name.lower() in {"no_proxy", "requests_ca_bundle"}},
        }
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.timeout(1800)
def test_every_block_runs_and_what_was_said_is_found(environment: dict[str, str]) -> None:
    home, address = Path(environment["HOME"]), f"127.0.0.1:{environment['SOMABRAIN_GRPC__PORT']}"
    server: subprocess.Popen[bytes] | None = None
    done: set[str] = set()
    try:
        for language, text in blocks():
            if language == "python":
                name = text.splitlines()[0].removeprefix("# ~/")
                assert ADDRESS in text
                (home / name).write_text(text.replace(ADDRESS, address))
            elif "serve --embedded" in text:
                log = home / "server.log"
                with log.open("wb") as out:
                    server = subprocess.Popen(
                        ["bash", "-c", f"exec {text}"], env=environment, cwd=ROOT, stdout=out, stderr=out
                    )
                wait_for(log, server)
            else:
                arguments = text.replace("bin/somabrain ", f"bin/somabrain --address {address} ")
                finished = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", arguments],
                    env=environment, cwd=ROOT, capture_output=True, text=True, timeout=BLOCK_S, check=False,
                )  # fmt: skip
                assert finished.returncode == 0, f"{text}\n{finished.stdout}\n{finished.stderr}"
                for part, promised in EXPECTED.items():
                    if part in text:
                        done.add(part)
                        assert promised in finished.stdout, f"{text}\n{finished.stdout}"
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait(60)
    assert done == EXPECTED.keys()


def wait_for(log: Path, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server listens."""
    ends_at = time.monotonic() + 120
    while "listening" not in log.read_text():
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < ends_at, log.read_text()
        time.sleep(0.2)
