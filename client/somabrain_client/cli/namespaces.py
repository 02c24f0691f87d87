"""Subcommands for namespaces, and for erasing a subject."""

from __future__ import annotations

import argparse

from somabrain_client.cli.arguments import Subparsers, add_json
from somabrain_client.formatting import json_line, namespace_lines
from somabrain_client.sync_client import SyncMemoryClient


def add(commands: Subparsers) -> None:
    """Add the subcommands."""
    verbs = commands.add_parser("namespace", help="manage namespaces").add_subparsers(dest="verb", required=True)
    create = verbs.add_parser("create", help="create a namespace")
    create.add_argument("namespace", help="id of 1 to 63 characters: a-z, 0-9 and '-'")
    create.add_argument("--display-name", default="", help="name for display")
    create.add_argument("--language", default="", help="language of its texts, such as en (default: the server's)")
    create.add_argument("--encoder", default="", help="id of the encoder of its vectors (default: the server's)")
    create.set_defaults(run=_create)
    get = verbs.add_parser("get", help="show a namespace and its statistics")
    get.add_argument("namespace")
    add_json(get)
    get.set_defaults(run=_get)
    verbs.add_parser("list", help="show the names of all namespaces").set_defaults(run=_list)
    delete = verbs.add_parser("delete", help="delete a namespace and everything in it, permanently")
    delete.add_argument("namespace")
    delete.set_defaults(run=_delete)
    erase = commands.add_parser("erase-subject", help="forget every memory about a subject, permanently")
    erase.add_argument("namespace")
    erase.add_argument("subject", help="subject, exactly as in the memories")
    erase.set_defaults(run=_erase_subject)


def _create(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    namespace = client.create_namespace(
        options.namespace, display_name=options.display_name, language=options.language, encoder=options.encoder
    )
    print(namespace.name)
    return 0


def _get(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    namespace = client.get_namespace(options.namespace)
    print(json_line(namespace) if options.json else "\n".join(namespace_lines(namespace)))
    return 0


def _list(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    del options
    for namespace in client.list_namespaces():
        print(namespace.name)
    return 0


def _delete(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    client.delete_namespace(options.namespace)
    print(f"deleted: {options.namespace}")
    return 0


def _erase_subject(client: SyncMemoryClient, options: argparse.Namespace) -> int:
    print(f"forgotten: {client.erase_subject(options.namespace, options.subject)} memories")
    return 0
