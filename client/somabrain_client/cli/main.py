"""The command `somabrain`: options, error messages and exit codes.

Exit codes: 0 success; 1 an error of the service; 2 invalid arguments; 130 interrupted; 141 closed output pipe.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from somabrain_client.base_client import DEFAULT_DEADLINE_S
from somabrain_client.cli import mcp_server, memories, namespaces, transfer, watch
from somabrain_client.cli.arguments import Handler, seconds
from somabrain_client.credentials import ClientCredentials, TokenError, TokenSource
from somabrain_client.errors import CallError
from somabrain_client.sync_client import SyncMemoryClient
from somabrain_client.tls import Tls

ADDRESS = "localhost:50052"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.token_url and not (options.client_id and options.client_secret_file):
        parser.error("--token-url requires --client-id and --client-secret-file")
    if (options.scope or options.audience) and not options.token_url:
        parser.error("--scope and --audience require --token-url")
    if (options.cert_file is None) != (options.key_file is None):
        parser.error("--cert-file and --key-file must be given together")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Characters that the terminal cannot encode are printed as escapes, instead of failing.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(options)
        sys.stdout.flush()
    except CallError as exc:
        return _print_error(describe_error(exc))
    except BrokenPipeError:
        # The reader closed the pipe, as `head` does; discard what Python has still buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except UnicodeError:
        _print_error("the input is not UTF-8; convert it first")
        return 2
    except (TokenError, OSError) as exc:
        return _print_error(str(exc))
    except KeyboardInterrupt:
        return 130
    return code


def describe_error(error: CallError) -> str:
    """Return the reason and message of an error, with the request id to find it in the service's log."""
    request_id = f" (request {error.details.request_id})" if error.details.request_id else ""
    return f"{error.reason or error.code.name}: {error.message}{request_id}"


def _print_error(message: str) -> int:
    print(f"somabrain: {message}", file=sys.stderr)
    return 1


def _run(options: argparse.Namespace) -> int:
    files = (options.ca_file, options.cert_file, options.key_file)
    tls = Tls(*files) if options.tls or any(files) else None
    if options.command == "mcp":
        from somabrain_client.mcp import command

        return command.run(options, options.address, _token(options), tls)
    run: Handler = options.run
    with SyncMemoryClient(
        options.address or ADDRESS,
        token=_token(options),
        deadline_s=options.deadline,
        tls=tls,
        use_http_proxy=options.use_http_proxy,
    ) as client:
        return run(client, options)


def _token(options: argparse.Namespace) -> TokenSource | None:
    if options.token_url:
        return ClientCredentials(
            options.token_url,
            options.client_id,
            options.client_secret_file,
            scope=options.scope,
            audience=options.audience,
        )
    token: Path | None = options.token_file
    return token


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="somabrain", description="A memory that AI agents can trust.")
    parser.add_argument("--address", help=f"host:port of the service (default: {ADDRESS})")
    parser.add_argument("--token-file", type=Path, help="file that contains a bearer token")
    parser.add_argument("--token-url", metavar="URL", help="token endpoint for OAuth 2.0 client credentials")
    parser.add_argument("--client-id", metavar="ID", help="client id at the token endpoint")
    parser.add_argument(
        "--client-secret-file", type=Path, metavar="FILE", help="file that contains the client's secret"
    )
    parser.add_argument("--scope", default="", help="scopes to request at the token endpoint, space-separated")
    parser.add_argument("--audience", default="", help="audience to request at the token endpoint")
    parser.add_argument("--tls", action="store_true", help="use TLS; implied by any of the next three options")
    parser.add_argument("--ca-file", type=Path, help="PEM authorities trusted to sign the service's certificate")
    parser.add_argument("--cert-file", type=Path, help="PEM client certificate, for mutual TLS")
    parser.add_argument("--key-file", type=Path, help="PEM private key of --cert-file")
    parser.add_argument(
        "--use-http-proxy",
        action="store_true",
        help="connect to the service through the proxy that the environment names (default: ignore it)",
    )
    parser.add_argument(
        "--deadline",
        type=seconds,
        default=DEFAULT_DEADLINE_S,
        metavar="S",
        help=f"maximum seconds per call, retries included (default: {DEFAULT_DEADLINE_S:g})",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for part in (namespaces, memories, transfer, watch, mcp_server):
        part.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
