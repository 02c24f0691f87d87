"""The command `kubectl-sb`, which kubectl runs as `kubectl sb`.

Exit codes: 0 success; 1 an error of the cluster or the service; 2 invalid arguments; 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from somabrain_client.errors import CallError
from somabrain_client.formatting import recall_result_lines
from somabrain_client.kubectl.kubectl import CommandFailed, Kubectl, Object
from somabrain_client.kubectl.status_tree import render_tree
from somabrain_client.sync_client import SyncMemoryClient

INSTANCE_LABEL = "app.kubernetes.io/part-of=somabrain,app.kubernetes.io/instance"
CHILD_KINDS = "deployments,jobs,pods,services,configmaps,serviceaccounts"
PORT = 50052

Handler = Callable[[Kubectl, str, argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    kubectl = Kubectl([f"--{name}={value}" for name in ("context", "kubeconfig") if (value := getattr(options, name))])
    run: Handler = options.run
    try:
        return run(kubectl, options.namespace or _current_namespace(kubectl), options)
    except (CommandFailed, CallError, OSError) as exc:
        print(f"kubectl sb: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _current_namespace(kubectl: Kubectl) -> str:
    return kubectl("config", "view", "--minify", "-o", "jsonpath={..namespace}").strip() or "default"


def _status(kubectl: Kubectl, namespace: str, options: argparse.Namespace) -> int:
    names = [options.name] if options.name else [each["metadata"]["name"] for each in _brains(kubectl, namespace)]
    if not names:
        print(f"There is no SomaBrain in namespace {namespace}.")
    for name in names:
        brain = kubectl.get(namespace, "somabrains", name)
        children = kubectl.get(namespace, CHILD_KINDS, "-l", f"{INSTANCE_LABEL}={name}")["items"]
        own_objects = {(each["kind"], each["metadata"]["name"]) for each in [brain, *children]}
        events = [
            each
            for each in kubectl.get(namespace, "events")["items"]
            if (each["involvedObject"]["kind"], each["involvedObject"]["name"]) in own_objects
        ]
        print("\n".join(render_tree(brain, children, events)))
    return 0


def _brains(kubectl: Kubectl, namespace: str) -> list[Object]:
    items: list[Object] = kubectl.get(namespace, "somabrains")["items"]
    return items


def _logs(kubectl: Kubectl, namespace: str, options: argparse.Namespace) -> int:
    kubectl.get(namespace, "somabrains", options.name)
    arguments = ["logs", "-n", namespace, "-l", f"{INSTANCE_LABEL}={options.name}", "--prefix", "--max-log-requests=50"]
    arguments += [f"--container={options.container}"] if options.container else ["--all-containers"]
    arguments += ["--follow"] if options.follow else [f"--tail={options.tail}"]
    return kubectl.run_interactive(*arguments)


def _recall(kubectl: Kubectl, namespace: str, options: argparse.Namespace) -> int:
    token = Path(options.token_file) if options.token_file else None
    bearer_token = (
        kubectl("create", "token", options.service_account, "-n", namespace, "--audience", options.audience).strip()
        if token is None
        else token
    )
    with (
        kubectl.forward(namespace, f"svc/{options.name}-grpc", PORT) as address,
        SyncMemoryClient(address, token=bearer_token) as client,
    ):
        result = client.recall(options.memory_namespace, options.query, top_k=options.top_k, explain=True)
    print("\n".join(recall_result_lines(result)))
    return 0


def _retry_migration(kubectl: Kubectl, namespace: str, options: argparse.Namespace) -> int:
    annotation = f"somabrain.io/retry-migration={int(time.time())}"
    kubectl("annotate", "somabrains", options.name, "-n", namespace, "--overwrite", annotation)
    print(f"A failed migration of {namespace}/{options.name} is retried at once; see `kubectl sb status`.")
    return 0


def _pause(kubectl: Kubectl, namespace: str, options: argparse.Namespace) -> int:
    patch = json.dumps({"spec": {"paused": options.paused}})
    kubectl("patch", "somabrains", options.name, "-n", namespace, "--type", "merge", "--patch", patch)
    print(
        f"{namespace}/{options.name} is paused: it keeps serving, and the operator changes nothing."
        if options.paused
        else f"{namespace}/{options.name} is resumed: the operator reconciles it again."
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    common_options = argparse.ArgumentParser(add_help=False)
    common_options.add_argument(
        "-n", "--namespace", default="", help="Kubernetes namespace of the SomaBrain (default: the current context's)"
    )
    common_options.add_argument("--context", default="", help="context in the kubeconfig")
    common_options.add_argument("--kubeconfig", default="", help="path of the kubeconfig")
    parser = argparse.ArgumentParser(prog="kubectl sb", description="Inspect and operate SomaBrains.")
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, run: Handler, help_text: str, *, optional: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_text, parents=[common_options])
        command.add_argument("name", nargs="?" if optional else None, help="name of the SomaBrain")
        command.set_defaults(run=run)
        return command

    add("status", _status, "show conditions, objects and recent events as a tree", optional=True)
    logs = add("logs", _logs, "show the logs of all its pods")
    logs.add_argument("-f", "--follow", action="store_true", help="follow the logs")
    logs.add_argument("--tail", type=int, default=50, help="lines per container (default: 50)")
    logs.add_argument("-c", "--container", default="", help="only this container, such as server or opa")
    recall = add("recall", _recall, "search memories through a forwarded port")
    recall.add_argument("memory_namespace", help="namespace of the memories")
    recall.add_argument("query", help="text to search for")
    recall.add_argument("--top-k", type=int, default=5, help="maximum number of hits, 1 to 200 (default: 5)")
    recall.add_argument("--token-file", default="", help="file that contains a bearer token")
    recall.add_argument(
        "--service-account",
        default="default",
        metavar="NAME",
        help="without --token-file: ServiceAccount to request a token for (default: default)",
    )
    recall.add_argument("--audience", default="somabrain", help="audience of that token (default: somabrain)")
    add("retry-migration", _retry_migration, "retry a failed migration at once")
    add("pause", _pause, "stop the operator from changing anything").set_defaults(paused=True)
    add("resume", _pause, "let the operator reconcile again").set_defaults(paused=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())
