"""Run both suites against the MCP server, with authentication and without, and fastmcp's client over both transports.

Prints each scenario with its checks.

    python -m tests.mcp_conformance [--table]

Exit status 1: a scenario that applies has a check that failed, or the tables in `scenarios` are not those of a suite.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from common.config.settings import DatabaseSettings
from devcluster.environment import local_paths
from devcluster.errors import LocalError
from devcluster.loopback import opa
from somabrain_client import SyncMemoryClient
from somabrain_service.admin.embedded_postgres import embedded_database
from somabrain_service.admin.migrate import migrate
from tests.integration.service.issuer import issuer
from tests.integration.service.mcp_process import SCRIPT, McpProcess, mcp_server
from tests.integration.service.service_process import environment, service
from tests.mcp_conformance.bearer_proxy import bearer_proxy
from tests.mcp_conformance.node_suites import NodeSuites
from tests.mcp_conformance.scenarios import GREEN, SUITES, Suite, reason_against, table

FASTMCP = "4.2.3"
POLICIES = Path(__file__).parents[2] / "common" / "policy"


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mcp_conformance", description=__doc__)
    parser.add_argument("--table", action="store_true", help="print the tables of docs/mcp.md, and run nothing")
    if parser.parse_args().table:
        print("\n".join(table()))
        return 0
    try:
        suites = NodeSuites()
    except LocalError as exc:
        print(f"mcp-conformance: {exc}", file=sys.stderr)
        return 2
    failures = [failure for suite in SUITES for failure in unlisted(suites, suite)]
    with tempfile.TemporaryDirectory(prefix="somabrain-mcp-") as folder, ExitStack() as stack:
        started = servers(Path(folder), stack)
        with bearer_proxy(started.identified[0].address, started.token) as proxy:
            for name, address in (("authentication off", started.open.address), ("authentication on", proxy)):
                failures += [
                    f"{name}: {failure}" for suite in SUITES for failure in run_suite(suites, suite, name, address)
                ]
        failures += fastmcp_round_trips(Path(folder), started)
    for failure in failures:
        print(f"mcp-conformance: {failure}", file=sys.stderr)
    if not failures:
        print("mcp-conformance: every scenario that applies is green, and every round trip went through")
    return 1 if failures else 0


@dataclass(frozen=True, slots=True)
class Servers:
    """MCP servers: one without authentication, and two replicas with it, for the bearer of `token`."""

    open: McpProcess
    identified: tuple[McpProcess, McpProcess]
    token: str


def servers(folder: Path, stack: ExitStack) -> Servers:
    """Start the MCP servers, each over a memory service; `stack` stops them."""
    folder.chmod(0o755)  # PostgreSQL runs as another user where root runs this
    plain = stack.enter_context(
        mcp_server(folder, {"encoder__kind": "lexical"}, "--embedded", "--data-dir", str(folder / "embedded"))
    )
    database = stack.enter_context(embedded_database(folder / "postgresql", DatabaseSettings()))
    migrate(database.owner_dsn, database.database, lambda _: None)
    idp, engine = stack.enter_context(issuer()), stack.enter_context(opa(POLICIES))
    auth = {"auth__issuer": idp.url, "auth__jwks_url": f"{idp.url}/keys", "auth__tenant_claim": "/tenant"}
    memory = stack.enter_context(
        service(
            folder,
            {
                **auth,
                "postgres_dsn": database.app_dsn,
                "grpc__host": "127.0.0.1",
                "grpc__port": 0,
                "http__port": 0,
                "encoder__kind": "lexical",
                "policy__url": f"{engine.url}/v1/data/sb/policy",
            },
        )
    )
    memory.wait_until_ready()
    token = idp.token("a")
    with SyncMemoryClient(memory.address, token=token) as client:
        client.create_namespace("agent")
    settings = {
        **auth,
        "mcp__address": memory.address,
        "mcp__same_resource": True,
        "mcp__namespace": "agent",
        "mcp__resource_url": "https://memory.example.com/mcp",
    }
    first, second = (stack.enter_context(mcp_server(folder, settings)) for _ in range(2))
    return Servers(plain, (first, second), token)


def fastmcp_round_trips(folder: Path, started: Servers) -> Iterator[str]:
    """Go the round trip with fastmcp's client, over HTTP with two replicas in turns, and over stdio."""
    command = [str(SCRIPT), "mcp", "--embedded", "--data-dir", str(folder / "stdio"), "--namespace", "agent"]
    stdio = {"command": command, "env": environment({"encoder__kind": "lexical"})}
    python = fastmcp_python()
    for name, given in {
        "HTTP, two replicas in turns": [{"url": each.url, "token": started.token} for each in started.identified],
        "stdio": [stdio],
    }.items():
        done = subprocess.run(
            [python, Path(__file__).with_name("fastmcp_client.py"), json.dumps(given)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        steps = len(done.stdout.splitlines())
        print(f"fastmcp {FASTMCP}: {name}: {steps} calls", flush=True)
        if done.returncode != 0:
            yield f"fastmcp: {name}: {done.stderr.strip()}"


def fastmcp_python() -> Path:
    """Return the interpreter of an environment that has fastmcp, which is installed if it is missing."""
    folder = local_paths().cache / f"fastmcp-{FASTMCP}"
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, f"fastmcp=={FASTMCP}"], check=True)
        (folder / "installed").touch()
    return python


def unlisted(suites: NodeSuites, suite: Suite) -> Iterator[str]:
    """Yield a line for each scenario of the suite that no table has."""
    for scenario in suites.server_scenarios(suite.version):
        if scenario not in GREEN and reason_against(scenario) is None:
            yield f"{suite.version} {scenario}: is in no table; add it to tests/mcp_conformance/scenarios.py"


def run_suite(suites: NodeSuites, suite: Suite, name: str, address: str) -> Iterator[str]:
    """Run the scenarios that apply, print each, and yield a line for each failure."""
    scenarios = suites.server_scenarios(suite.version)
    for revision in suite.revisions:
        for scenario, green in GREEN.items():
            if revision not in scenarios.get(scenario, frozenset()):
                continue
            checks = suites.run(suite.version, scenario, revision, f"http://{address}/mcp")
            passed = sum(check.status == "SUCCESS" for check in checks)
            failed = {check.id: check.message for check in checks if check.status in {"FAILURE", "WARNING"}}
            where = f"{suite.version} {revision} {scenario}"
            excluded = f", {len(green.excluded)} do not apply" if green.excluded else ""
            print(f"{name}: {where}: {passed} checks passed{excluded}", flush=True)
            if not passed:
                yield f"{where}: no check passed"
            for check in failed.keys() - green.excluded.keys():
                yield f"{where}: {check}: {failed[check]}"
            for check in green.excluded.keys() - failed.keys():
                yield f"{where}: {check} passes, or no longer exists; remove it from the table"


if __name__ == "__main__":
    sys.exit(main())
