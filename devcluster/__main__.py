"""Command line: `python3 -m devcluster COMMAND`."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from devcluster import pinned_tools, previous_release
from devcluster.environment import chosen_provider, local_paths
from devcluster.errors import LocalError
from devcluster.progress import Progress
from devcluster.provider import choose
from devcluster.tools import Toolchain

SIMPLE_COMMANDS = {
    "down": "remove the cluster and all its resources",
    "previous": "install the previous version, from which upgrades are tested, and print its folder",
    "kubeconfig": "print the path of the administrator's kubeconfig",
    "node-address": "print the address at which NodePorts answer",
    "pytest-options": "print the pytest options for the cluster",
    "status": "print the state of the cluster",
}


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    root = argparse.ArgumentParser(prog="devcluster", description="The local cluster of SomaBrain.")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    tools = commands.add_parser("tools", help="build the pinned tools and print their folder")
    tools.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"tools to build; default: all except {', '.join(pinned_tools.ON_DEMAND)}",
    )
    up = commands.add_parser("up", help="start the cluster, repair it, or recreate it")
    up.add_argument("--with-images", action="store_true", help="also build helm, and build and load the images")
    images = commands.add_parser("images", help="build missing and outdated images")
    load = commands.add_parser("load", help="load missing images into the cluster")
    for command in (up, images, load):
        command.add_argument("--full", action="store_true", help="include the images of soma-infra's profile full")
    kill = commands.add_parser("kill", help="send SIGKILL to a container, for tests of its loss")
    kill.add_argument("container", metavar="ID", help="container id from the pod's status, containerd://...")
    for name, what in SIMPLE_COMMANDS.items():
        commands.add_parser(name, help=what)
    return root


def main() -> int:
    """Run one command and return its exit status."""
    arguments = parser().parse_args()
    paths = local_paths()
    progress = Progress(paths.cache / "durations.json")
    toolchain = Toolchain(paths, progress)
    with progress.heartbeat():
        if arguments.command == "tools":
            everything = [tool.name for tool in pinned_tools.TOOLS if tool.name not in pinned_tools.ON_DEMAND]
            print(toolchain.ensure(arguments.names or everything))
            return 0
        if arguments.command == "previous":
            print(previous_release.ensure(paths, progress).checkout)
            return 0
        provider = choose(chosen_provider(), toolchain)
        match arguments.command:
            case "up":
                provider.up(with_images=arguments.with_images, full=arguments.full)
            case "down":
                provider.down()
            case "images":
                provider.images(full=arguments.full)
            case "load":
                provider.load(full=arguments.full)
            case "kill":
                provider.kill(arguments.container.removeprefix("containerd://"))
            case "kubeconfig":
                print(provider.kubeconfig())
            case "node-address":
                print(provider.node_address())
            case "pytest-options":
                print(*provider.pytest_options())
            case "status":
                print(provider.status())
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = main()
    except LocalError as error:
        print(f"devcluster: {error}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print("devcluster: interrupted; run the same command again to continue.", file=sys.stderr)
        status = 130
    sys.stdout.flush()
    os._exit(status)  # builds in other threads die with their thread
