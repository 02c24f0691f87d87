"""The blocks of docs/agents.md work as printed, in their order, in an empty home; only the port differs."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "agents.md"
ADDRESS = "localhost:50052"
BLOCK_S = 600
EXPECTED = {
    "somabrain/bin/somabrain recall": "Ada prefers green tea in the morning.",
    "tea.py": "The meeting with Bob moved to Friday.\nAda, engineer, Bern\n",
    "remember_over_mcp.py": "forget get list recall remember sessions update\nThe lighthouse is painted in spring.\n",
    "remember_in_langgraph.py": "I will remember that.\nYou told me: I take my tea without sugar.\n",
    "remember_in_adk.py": "My cat is called Ramses.\n",
}
"""Output that the page promises of a command, by a part of the command."""


def blocks() -> list[tuple[str, str]]:
    """The language and text of each block."""
    return re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty home that the embedded PostgreSQL's user may enter, when root runs the test."""
    with tempfile.TemporaryDirectory(prefix="somabrain-home-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def script(home: Path, port: int, text: str) -> list[str]:
    """The command that runs a block; pip and cargo have the user's caches, or each run would build all again."""
    user = Path.home()
    variables = {
        "HOME": home,
        "PIP_CACHE_DIR": user / ".cache" / "pip",
        "PIP_DISABLE_PIP_VERSION_CHECK": 1,
        "CARGO_HOME": user / ".cargo",
        "RUSTUP_HOME": user / ".rustup",
        "CARGO_TARGET_DIR": user / ".cache" / "somabrain" / "kernel" / "target",
        "SOMABRAIN_GRPC__PORT": port,
        "SOMABRAIN_HTTP__PORT": free_port(),
    }
    exports = "".join(f"export {name}={shlex.quote(str(value))}\n" for name, value in variables.items())
    paths = 'unset PYTHONPATH\nexport PATH="$CARGO_HOME/bin:$PATH"\n'
    return ["bash", "-euo", "pipefail", "-c", exports + paths + text]


@pytest.mark.timeout(1800)
def test_documented_blocks_run_in_order_and_recall_the_memory(home: Path) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    done: set[str] = set()
    with ExitStack() as stack:
        for language, text in blocks():
            if language == "python":
                name = text.splitlines()[0].removeprefix("# ~/")
                assert ADDRESS in text
                (home / name).write_text(text.replace(ADDRESS, address))
            elif "serve --embedded" in text:
                stack.enter_context(serving(script(home, port, f"exec {text}"), home / "server.log"))
            else:
                command = text.replace("bin/somabrain ", f"bin/somabrain --address {address} ")
                finished = subprocess.run(
                    script(home, port, command), cwd=ROOT, capture_output=True, text=True, timeout=BLOCK_S, check=False
                )
                assert finished.returncode == 0, f"{text}\n{finished.stdout}\n{finished.stderr}"
                for part, promised in EXPECTED.items():
                    if part in text:
                        done.add(part)
                        assert promised in finished.stdout, f"{text}\n{finished.stdout}"
    assert done == EXPECTED.keys()


@contextmanager
def serving(command: list[str], log: Path) -> Iterator[None]:
    """Run the server until the block ends, as Ctrl-C ends it."""
    with log.open("wb") as out, subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out) as server:
        try:
            wait_for(log, server)
            yield
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)


def wait_for(log: Path, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server listens."""
    ends_at = time.monotonic() + 120
    while "listening" not in log.read_text():
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < ends_at, log.read_text()
        time.sleep(0.2)
