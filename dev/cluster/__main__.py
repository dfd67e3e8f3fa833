"""``python3 -m dev.cluster``: a real Kubernetes cluster for Linnet's demo and tests.

Needs nothing but Python 3.11: no environment, no package.
"""

import argparse
import os
import sys

from . import cluster, console


def main() -> int:
    """Run one command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m dev.cluster", description=__doc__)
    parser.add_argument(
        "--context",
        default=os.environ.get("LINNET_CONTEXT", ""),
        help="use the cluster of this kubeconfig context (or set LINNET_CONTEXT)",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="bring the cluster up, or complete what is there of it")
    down = commands.add_parser("down", help="take the cluster down; builds and images stay cached")
    down.add_argument("--purge", action="store_true", help="also remove the node's logs and data")
    commands.add_parser("status", help="say what runs")
    commands.add_parser("kubeconfig", help="print the path of the kubeconfig")
    commands.add_parser("kubectl", help="print the path of kubectl")
    images = commands.add_parser("images", help="build and load the project's images")
    images.add_argument(
        "target", nargs="*", help="targets of the Dockerfile; all but extras by default"
    )
    load = commands.add_parser("load", help="load an image that buildah has built")
    load.add_argument("image")
    for name, addition in cluster.ADDITIONS.items():
        commands.add_parser(
            name, help=f"build and install {addition.group.name}, for tests that ask for it"
        )
    credentials = commands.add_parser("credentials", help="put the store's keys into a namespace")
    credentials.add_argument("namespace")
    arguments = parser.parse_args()
    try:
        return cluster.command(arguments)
    except console.Failure as failure:
        console.say(f"\n{failure}")
        return 1
    except KeyboardInterrupt:
        console.say("\nInterrupted. Run the same command again to go on.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
