"""The network namespace in which the node lives.

The host's own tables stay untouched, and nothing can leave: behind the node's default route is an
empty bridge. The one way in from the host is a pair of virtual interfaces, for the API server.
"""

from pathlib import Path

from . import commands

NAMESPACE = "linnet"
HOST_INTERFACE = "linnet0"
HOST_ADDRESS = "198.18.0.1"
NODE_ADDRESS = "198.18.0.2"
POD_RANGE = "10.244.0.0/16"
SERVICE_RANGE = "10.96.0.0/16"
DNS_ADDRESS = "10.96.0.10"
API_SERVICE_ADDRESS = "10.96.0.1"

_PATH = Path("/run/netns") / NAMESPACE
_GUARD = ("unreachable", "198.18.0.0/30", "metric", "4000000")
"""A route behind the interface's own: without the interface the node's address leads nowhere."""


def inside() -> list[str]:
    """The prefix of a command that is to run in the node's network.

    Not ``ip netns exec``: that remounts /sys and hides the cgroups.
    """
    return ["nsenter", f"--net={_PATH}"]


def ensure() -> None:
    """Make the namespace, its way in and its empty way out."""
    # Whoever holds a kubeconfig of a node that died must not reach past this machine with it.
    _ip("route", "replace", *_GUARD)
    if not _usable():
        remove()
        _ip("netns", "add", NAMESPACE)
    if not commands.succeeds("ip", "link", "show", HOST_INTERFACE):
        _ip("link", "add", HOST_INTERFACE, "type", "veth", "peer", "name", "eth0", "netns",
            NAMESPACE)  # fmt: skip
    _ip("address", "replace", f"{HOST_ADDRESS}/30", "dev", HOST_INTERFACE)
    _ip("link", "set", HOST_INTERFACE, "up")
    node = ("-n", NAMESPACE)
    _ip(*node, "link", "set", "lo", "up")
    _ip(*node, "address", "replace", f"{NODE_ADDRESS}/30", "dev", "eth0")
    _ip(*node, "link", "set", "eth0", "up")
    # ClusterIPs are routed before they are translated, so there has to be a default route; this
    # one ends in a bridge without ports ("unreachable" would refuse ClusterIPs as well).
    if not commands.succeeds("ip", *node, "link", "show", "void0"):
        _ip(*node, "link", "add", "void0", "type", "bridge")
    _ip(*node, "link", "set", "void0", "up")
    _ip(*node, "route", "replace", "default", "dev", "void0", "src", NODE_ADDRESS)
    if not Path("/proc/sys/net/bridge").is_dir():
        # Without it the answers of a Service's pod would bypass the translation on the way back.
        commands.succeeds("modprobe", "br_netfilter")
    for setting in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
        commands.run(*inside(), "sh", "-c", f"echo 1 > /proc/sys/{setting}")


def remove() -> None:
    """Remove the namespace and with it every interface in it."""
    commands.succeeds("ip", "netns", "delete", NAMESPACE)
    _PATH.unlink(missing_ok=True)
    commands.succeeds("ip", "link", "delete", HOST_INTERFACE)
    # `ip netns add` mounts the folder over itself; the last one to leave takes that back.
    if _PATH.parent.is_dir() and not any(_PATH.parent.iterdir()):
        commands.succeeds("umount", _PATH.parent)


def lift_guard() -> None:
    """Remove the route that keeps the node's address on this machine; the kubeconfig is gone."""
    commands.succeeds("ip", "route", "delete", *_GUARD)


def leads_to_node() -> bool:
    """Whether the node's address is reached through our interface and nowhere else."""
    return commands.succeeds("sh", "-c", f"ip route get {NODE_ADDRESS} | grep -q {HOST_INTERFACE}")


def leftovers() -> list[str]:
    """What is there of the namespace and the interface to it."""
    found = []
    if commands.succeeds("ip", "link", "show", HOST_INTERFACE):
        found.append(f"interface {HOST_INTERFACE}")
    if _PATH.exists():
        found.append(f"network namespace {NAMESPACE}")
    return found


def _usable() -> bool:
    return commands.succeeds(*inside(), "true")


def _ip(*arguments: str) -> None:
    commands.run("ip", *arguments)
