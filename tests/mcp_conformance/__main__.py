"""Run both suites against the MCP server, with authentication and without; print each scenario and its checks.

    python -m tests.mcp_conformance [--table]

Exit status 1: a scenario that applies has a check that failed, or the tables in `scenarios` are not those of a suite.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from common.config.settings import DatabaseSettings
from somabrain_local.errors import LocalError
from somabrain_local.loopback import opa
from somabrain_service.admin.embedded_postgres import embedded_database
from somabrain_service.admin.migrate import migrate
from tests.integration.service.issuer import issuer
from tests.integration.service.mcp_process import mcp_server
from tests.integration.service.service_process import service
from tests.mcp_conformance.bearer_proxy import bearer_proxy
from tests.mcp_conformance.node_suites import NodeSuites
from tests.mcp_conformance.scenarios import GREEN, SUITES, Suite, reason_against, table

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
        for name, address in servers(Path(folder), stack).items():
            failures += [
                f"{name}: {failure}" for suite in SUITES for failure in run_suite(suites, suite, name, address)
            ]
    for failure in failures:
        print(f"mcp-conformance: {failure}", file=sys.stderr)
    if not failures:
        print("mcp-conformance: every scenario that applies is green")
    return 1 if failures else 0


def servers(folder: Path, stack: ExitStack) -> dict[str, str]:
    """Start the MCP server with authentication and without, each over a memory service; return their addresses."""
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
                **auth, "postgres_dsn": database.app_dsn, "grpc__host": "127.0.0.1", "grpc__port": 0, "http__port": 0,
                "encoder__kind": "lexical", "policy__url": f"{engine.url}/v1/data/sb/policy",
            },
        )
    )  # fmt: skip
    memory.wait_until_ready()
    settings = {
        **auth, "mcp__address": memory.address, "mcp__same_resource": True, "mcp__namespace": "agent",
        "mcp__resource_url": "https://memory.example.com/mcp",
    }  # fmt: skip
    authenticated = stack.enter_context(mcp_server(folder, settings))
    proxy = stack.enter_context(bearer_proxy(authenticated.address, idp.token("a")))
    return {"authentication off": plain.address, "authentication on": proxy}


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
