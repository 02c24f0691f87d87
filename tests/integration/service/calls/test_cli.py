"""The command line as a process: its exit codes and its error messages."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.service.command_line import SCRIPT, run
from tests.integration.service.issuer import Issuer
from tests.integration.service.service_process import ServiceProcess
from tests.integration.service.token_endpoint import token_endpoint


@pytest.fixture(scope="module")
def cli(brain: ServiceProcess, idp: Issuer, folder: Path) -> list[str]:
    """The command with address and token, and an existing namespace `cli`."""
    token = folder / "cli-token"
    token.write_text(idp.token("cli"))
    command = [str(SCRIPT), "--address", brain.address, "--token-file", str(token)]
    assert run([*command, "namespace", "create", "cli"]).stdout == b"namespaces/cli\n"
    return command


def test_cli_stores_input_byte_for_byte(cli: list[str]) -> None:
    """Line endings and non-ASCII letters are stored unchanged in any encoding of the terminal."""
    stored = run([*cli, "remember", "cli", "-"], stdin="crlf\r\n\té".encode(), LC_ALL="C", PYTHONUTF8="0")
    assert stored.returncode == 0, stored.stderr
    shown = run([*cli, "get", stored.stdout.decode().strip()], LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert (shown.returncode, b"\\xe9" in shown.stdout) == (0, True), shown.stderr


@pytest.mark.parametrize("where", ["input", "argument"])
def test_cli_reports_input_that_is_not_utf_8(cli: list[str], where: str) -> None:
    arguments: list[str | bytes] = [*cli, "remember", "cli", "-" if where == "input" else b"bad \xff"]
    done = run(arguments, stdin=b"bad \xff")
    assert (done.returncode, done.stderr) == (2, b"somabrain: the input is not UTF-8; convert it first\n")


def test_closed_output_pipe_is_not_a_failure(cli: list[str]) -> None:
    for _ in range(3):
        run([*cli, "remember", "cli", "y" * 60_000])
    with subprocess.Popen([*cli, "list", "cli"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon", "3601"])
def test_invalid_deadline_is_refused(cli: list[str], seconds: str) -> None:
    done = run([*cli, f"--deadline={seconds}", "list", "cli"])
    assert (done.returncode, b"is not a number of seconds greater than 0" in done.stderr) == (2, True)


def test_invalid_token_file_is_refused_without_printing_it(cli: list[str], folder: Path) -> None:
    broken = folder / "broken-token"
    broken.write_text("sesame\nsesame")
    done = run([*cli, "--token-file", str(broken), "list", "cli"])
    assert (done.returncode, b"is not a bearer token" in done.stderr, b"sesame" in done.stderr) == (1, True, False)


def test_refused_call_prints_reason_and_request_id(cli: list[str]) -> None:
    done = run([*cli, "recall", "nowhere", "anything"])
    assert done.returncode == 1
    assert done.stderr.startswith(b"somabrain: NOT_FOUND: namespaces/nowhere does not exist.")
    assert b"(request " in done.stderr


def test_cli_shows_lists_and_deletes_namespaces(cli: list[str]) -> None:
    assert run([*cli, "namespace", "create", "gone", "--display-name", "Soon gone"]).returncode == 0
    shown = run([*cli, "namespace", "get", "gone"]).stdout.decode()
    assert "Soon gone" in shown
    assert "memories 0" in shown
    assert b"namespaces/gone\n" in run([*cli, "namespace", "list"]).stdout
    assert run([*cli, "namespace", "delete", "gone"]).stdout == b"deleted: gone\n"
    assert b"namespaces/gone\n" not in run([*cli, "namespace", "list"]).stdout
    assert run([*cli, "namespace", "get", "gone"]).returncode == 1


def test_cli_uses_environment_proxy_only_with_its_option(cli: list[str]) -> None:
    """No proxy listens at the address of the variables: only the command with the option cannot connect."""
    proxy = "http://127.0.0.1:9"
    done = run([*cli, "namespace", "list"], http_proxy=proxy, https_proxy=proxy, grpc_proxy=proxy)
    assert (done.returncode, b"namespaces/cli" in done.stdout) == (0, True), done.stderr
    refused = run([*cli, "--use-http-proxy", "--deadline=1", "namespace", "list"], https_proxy=proxy)
    assert (refused.returncode, b"127.0.0.1:9" in refused.stderr) == (1, True), refused.stderr


def test_cli_sends_scope_and_audience_to_token_endpoint(brain: ServiceProcess, idp: Issuer, tmp_path: Path) -> None:
    """A lifetime in a string is read, and a proxy of the environment is not used for loopback."""
    secret = tmp_path / "secret"
    secret.write_text("sesame")
    with token_endpoint({"access_token": idp.token("credentials"), "expires_in": "3599"}) as endpoint:
        options = ["--token-url", endpoint.url, "--client-id", "agent", "--client-secret-file", str(secret)]
        request = ["--scope", "api://somabrain/.default", "--audience", "somabrain"]
        command = [str(SCRIPT), "--address", brain.address, *options, *request, "namespace", "list"]
        done = run(command, http_proxy="http://127.0.0.1:9")
        assert (done.returncode, done.stderr) == (0, b"")
        expected = {"scope": "api://somabrain/.default", "audience": "somabrain"}
        assert endpoint.forms == [{"grant_type": "client_credentials", **expected}]


@pytest.mark.parametrize("option", ["--scope", "--audience"])
def test_scope_and_audience_require_a_token_endpoint(cli: list[str], option: str) -> None:
    done = run([*cli, option, "somabrain", "namespace", "list"])
    assert (done.returncode, b"--scope and --audience require --token-url" in done.stderr) == (2, True)


def test_cli_reads_time_without_zone_as_utc(cli: list[str]) -> None:
    """Wherever the command runs: the same time is stored."""
    stored = run([*cli, "remember", "cli", "noon", "--event-time", "2024-05-01T12:00:00"], TZ="America/New_York")
    shown = run([*cli, "get", stored.stdout.decode().strip(), "--json"], TZ="Asia/Tokyo")
    assert b'"event_time": "2024-05-01T12:00:00+00:00"' in shown.stdout
