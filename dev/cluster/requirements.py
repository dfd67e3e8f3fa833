"""What the machine has to have: asked first, and installed where that is possible."""

import os
import platform
import shutil
import sys
from pathlib import Path

from . import commands, console

_PROGRAMS = {
    "ip": "iproute2",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "socat": "socat",
    "ethtool": "ethtool",
    "openssl": "openssl",
    "gcc": "gcc",
    "pkg-config": "pkg-config",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "nice": "coreutils",
}
_LIBRARIES = {"seccomp.h": "libseccomp-dev", "stdlib.h": "libc6-dev"}
_SEARCH = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def ensure() -> None:
    """Refuse a machine that cannot do it, saying what to do; install what Debian can provide."""
    if platform.system() != "Linux":
        raise console.Failure(
            "The cluster is made of Linux namespaces and cgroups, and this is not Linux.\n"
            "Use a cluster that you have (LINNET_CONTEXT=<kubeconfig context>), or run this in a\n"
            "Linux virtual machine, as root."
        )
    if os.geteuid() != 0:
        raise console.Failure(
            "The cluster needs root: it makes a network namespace, mounts and cgroups.\n"
            "Run this as root (sudo), or use a cluster that you have (LINNET_CONTEXT=<kubeconfig\n"
            "context>)."
        )
    _extend_path()
    missing = _missing()
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise console.Failure(
            f"These are missing, and this is no Debian to install them: {', '.join(missing)}."
        )
    with console.step(f"installing {', '.join(missing)}"):
        _apt("update", "-qq")
        _apt("install", "-qq", "-y", "--no-install-recommends", *missing)
    if missing := _missing():
        raise console.Failure(f"These could not be installed: {', '.join(missing)}.")


def _missing() -> list[str]:
    packages = {package for program, package in _PROGRAMS.items() if not shutil.which(program)}
    for header, package in _LIBRARIES.items():
        if not Path("/usr/include", header).exists():
            packages.add(package)
    if _python_lacks_venv():
        packages.add("python3-venv")
    return sorted(packages)


def _python_lacks_venv() -> bool:
    command = [sys.executable, "-c", "import ensurepip, venv"]
    return not commands.succeeds(*command)


def _extend_path() -> None:
    """Add the folders of system programs, which a user's PATH may lack even as root."""
    known = os.environ.get("PATH", "").split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([*known, *(f for f in _SEARCH if f not in known)])


def _apt(*arguments: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    commands.run("apt-get", *arguments, env=environment)
