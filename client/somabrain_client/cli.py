"""The command `somabrain`: remember, recall, and look at what there is.

Exit codes: 0 done; 1 the service said no; 2 the command cannot be understood; 130 interrupted; 141 nobody reads.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import math
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from somabrain_client.connection import DEADLINE_S
from somabrain_client.errors import CallError
from somabrain_client.memory_client import MemoryClient
from somabrain_client.readable import answer_lines, memory_lines, namespace_lines
from somabrain_client.tls import Tls
from somabrain_client.tokens import TokenError
from somabrain_client.values import Filter

ADDRESS = "localhost:50052"
LONGEST_S = 3600


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.cert_file is None) != (options.key_file is None):
        parser.error("--cert-file and --key-file are given together or not at all")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a letter is shown its code, not a failure.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        asyncio.run(_run(options))
        sys.stdout.flush()
    except CallError as exc:
        request_id = f" (request {exc.explanation.request_id})" if exc.explanation.request_id else ""
        print(f"somabrain: {exc.reason or exc.code.name}: {exc.message}{request_id}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever reads has seen enough, as `head` does; what Python still holds back has nobody to go to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except UnicodeError:
        print("somabrain: what was given is not UTF-8; convert it first", file=sys.stderr)
        return 2
    except TokenError as exc:
        print(f"somabrain: {exc}", file=sys.stderr)
        return 1
    except OSError as exc:
        print(f"somabrain: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _run(options: argparse.Namespace) -> None:
    run: Callable[[MemoryClient, argparse.Namespace], Awaitable[None]] = options.run
    files = (options.ca_file, options.cert_file, options.key_file)
    tls = Tls(*files) if options.tls or any(files) else None
    async with MemoryClient(options.address, token=options.token_file, deadline_s=options.deadline, tls=tls) as client:
        await run(client, options)


async def _create(client: MemoryClient, options: argparse.Namespace) -> None:
    print((await client.create_namespace(options.namespace, display_name=options.display_name)).name)


async def _get_namespace(client: MemoryClient, options: argparse.Namespace) -> None:
    print("\n".join(namespace_lines(await client.get_namespace(options.namespace))))


async def _list_namespaces(client: MemoryClient, options: argparse.Namespace) -> None:
    del options
    async for namespace in client.list_namespaces():
        print(namespace.name)


async def _delete_namespace(client: MemoryClient, options: argparse.Namespace) -> None:
    await client.delete_namespace(options.namespace)
    print(f"deleted: {options.namespace}")


async def _remember(client: MemoryClient, options: argparse.Namespace) -> None:
    # Bytes, because a text is kept as it is: no translated ends of lines, no encoding of the terminal's.
    text = (await asyncio.to_thread(sys.stdin.buffer.read)).decode() if options.text == "-" else options.text
    memory = await client.remember(
        options.namespace,
        text,
        session=options.session,
        subject=options.subject,
        labels=dict(options.label),
        request_id=options.request_id,
    )
    print(memory.name)


async def _recall(client: MemoryClient, options: argparse.Namespace) -> None:
    answer = await client.recall(
        options.namespace,
        options.query,
        top_k=options.top_k,
        where=Filter(labels=dict(options.label)),
        min_score=options.min_score,
        explain=True,
    )
    print("\n".join(answer_lines(answer)))


async def _get(client: MemoryClient, options: argparse.Namespace) -> None:
    print("\n".join(memory_lines(await client.get(options.name))))


async def _list(client: MemoryClient, options: argparse.Namespace) -> None:
    async for memory in client.list(options.namespace, where=Filter(labels=dict(options.label))):
        print("\n".join(memory_lines(memory)))


async def _forget(client: MemoryClient, options: argparse.Namespace) -> None:
    await client.forget(options.name)
    print(f"forgotten: {options.name}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="somabrain", description="A memory that AI agents can trust.")
    parser.add_argument("--address", default=ADDRESS, help=f"host:port of the service (default: {ADDRESS})")
    parser.add_argument("--token-file", type=Path, help="file that holds a bearer token")
    parser.add_argument(
        "--deadline",
        type=_seconds,
        default=DEADLINE_S,
        metavar="S",
        help=f"seconds a call may take (default: {DEADLINE_S:g})",
    )
    parser.add_argument("--tls", action="store_true", help="encrypt; any of the three files below does, too")
    parser.add_argument("--ca-file", type=Path, help="PEM authorities that may vouch for the service")
    parser.add_argument("--cert-file", type=Path, help="PEM certificate of ours, for a service that asks for one")
    parser.add_argument("--key-file", type=Path, help="its PEM private key")
    commands = parser.add_subparsers(dest="command", required=True)

    namespace = commands.add_parser("namespace", help="namespaces").add_subparsers(dest="verb", required=True)
    create = namespace.add_parser("create", help="make a namespace")
    create.add_argument("namespace", help="1 to 63 of a-z, 0-9 and '-'")
    create.add_argument("--display-name", default="", help="for people")
    create.set_defaults(run=_create)
    look = namespace.add_parser("get", help="show a namespace and what it holds")
    look.add_argument("namespace")
    look.set_defaults(run=_get_namespace)
    namespace.add_parser("list", help="show the names of all namespaces").set_defaults(run=_list_namespaces)
    delete = namespace.add_parser("delete", help="delete a namespace and everything in it, for good")
    delete.add_argument("namespace")
    delete.set_defaults(run=_delete_namespace)

    remember = commands.add_parser("remember", help="keep a text")
    remember.add_argument("namespace")
    remember.add_argument("text", help="the text; - reads it from standard input")
    remember.add_argument("--session", default="", help="the conversation or task it belongs to")
    remember.add_argument("--subject", default="", help="the person it is about")
    remember.add_argument("--request-id", default="", help="keeps the text once, however often this is sent")
    _add_labels(remember, "given to the memory")
    remember.set_defaults(run=_remember)

    recall = commands.add_parser("recall", help="find what answers a question")
    recall.add_argument("namespace")
    recall.add_argument("query")
    recall.add_argument("--top-k", type=int, default=5, help="how many hits, 1 to 200 (default: 5)")
    recall.add_argument(
        "--min-score", type=float, help="answer nothing unless the best lexical score reaches it, 0 to 1"
    )
    _add_labels(recall, "that a memory must have")
    recall.set_defaults(run=_recall)

    get = commands.add_parser("get", help="show one memory")
    get.add_argument("name", help="namespaces/.../memories/...")
    get.set_defaults(run=_get)

    listing = commands.add_parser("list", help="show all memories, oldest first")
    listing.add_argument("namespace")
    _add_labels(listing, "that a memory must have")
    listing.set_defaults(run=_list)

    forget = commands.add_parser("forget", help="forget one memory for good")
    forget.add_argument("name", help="namespaces/.../memories/...")
    forget.set_defaults(run=_forget)
    return parser


def _add_labels(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument(
        "--label", type=_label, action="append", default=[], metavar="KEY=VALUE", help=f"a label {meaning}; repeatable"
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is no time of more than 0 and at most {LONGEST_S} seconds")
    return seconds


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
